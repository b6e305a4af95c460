//! E-mail through a real mail server, encrypted and verified.

use backstay_testkit::mail::{Encryption, MailServer, PASSWORD, USER};

use super::Desk;

fn settings(desk: &Desk, server: &MailServer, encryption: &str) {
    let sign_in = match encryption {
        "none" => String::new(),
        _ => format!("user: {USER}, passwordSecret: smtp, "),
    };
    desk.settings(&format!(
        "notifications: {{ channels: {{ mail: {{ type: email, host: localhost, port: {}, encryption: {encryption}, {sign_in}from: \"Backstay <backup@example.com>\", to: [a@example.com, b@example.com], title: \"[{{{{ events[0] }}}}] {{{{ title }}}}\" }} }} }}",
        server.port()
    ));
}

#[test]
fn a_mail_arrives_encrypted_and_signed_in_and_says_what_happened() {
    for (encryption, word) in [(Encryption::Tls, "tls"), (Encryption::Starttls, "starttls")] {
        let server = MailServer::start(encryption);
        let desk = Desk::new();
        // Nobody trusts it yet.
        settings(&desk, &server, word);
        desk.backstay.secret("smtp", PASSWORD);
        let refused = desk
            .backstay
            .run(&["notification", "test", "mail"])
            .code(6)
            .stderr;
        assert!(refused.contains("certificate"), "{refused}");
        let Desk { backstay } = desk;
        let desk = Desk {
            backstay: backstay.env("SSL_CERT_FILE", server.authority().to_str().unwrap()),
        };
        desk.job("flash", "").ok();
        desk.break_source(true);
        assert!(desk.backstay.run(&["run", "flash"]).code != 0);
        let mails = server.wait_for(1);
        assert_eq!(mails.len(), 1);
        let mail = &mails[0];
        assert_eq!(
            (&mail["encrypted"], &mail["signedIn"]),
            (&true.into(), &true.into())
        );
        assert_eq!(mail["to"], serde_json::json!(["a@example.com", "b@example.com"]));
        let header = |name: &str| {
            let headers = mail["headers"].as_array().unwrap();
            let found = headers.iter().find(|header| header[0] == name);
            found.unwrap()[1].as_str().unwrap().to_owned()
        };
        let subject = header("Subject");
        let expected = "[failed-to-start] Backup of flash failed to start on ";
        assert!(subject.starts_with(expected), "{subject}");
        assert!(header("Message-ID").ends_with("@example.com>"));
        assert!(mail["body"].as_str().unwrap().contains("More: backstay logs "));
        // A wrong password is said without being repeated.
        desk.backstay.secret("smtp", "wr0ng-p4ssword");
        let refused = desk
            .backstay
            .run(&["notification", "test", "mail"])
            .code(6)
            .stderr;
        assert!(
            refused.contains("mail server") && !refused.contains("wr0ng"),
            "{refused}"
        );
    }
}

#[test]
fn a_server_that_doesnt_offer_encryption_gets_no_password() {
    let server = MailServer::start(Encryption::None);
    let desk = Desk::new();
    desk.backstay.secret("smtp", PASSWORD);
    settings(&desk, &server, "starttls");
    assert!(
        desk.backstay
            .run(&["notification", "test", "mail"])
            .code(6)
            .stderr
            .contains("mail server")
    );
    settings(&desk, &server, "none");
    desk.backstay.run(&["notification", "test", "mail"]).ok();
    assert_eq!(server.received().len(), 1);
}
