//! What people read: help and plugins' requests, word by word. A change of a word is a change of the product.

use backstay_testkit::cli::Backstay;

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<&str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}

#[test]
fn the_help_of_every_command() {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let mut open = vec![Vec::new()];
    let mut text = String::new();
    while let Some(path) = open.pop() {
        let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = backstay.run(&args).ok().stdout;
        let below = commands(&help);
        open.extend(below.iter().rev().map(|name| {
            let mut path = path.clone();
            path.push((*name).to_owned());
            path
        }));
        text += &format!("$ backstay {}\n{help}\n", args.join(" "));
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\[env: BACKSTAY_DATA_DIR=.*\]", "[env: BACKSTAY_DATA_DIR=…]");
    // Clap ends some lines with blanks.
    settings.add_filter(r"(?m)[ ]+$", "");
    settings.bind(|| insta::assert_snapshot!("help", text));
}

#[test]
fn what_each_plugin_asks_for() {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("blake3:[0-9a-f]{64}", "blake3:…");
    for plugin in backstay.json(&["plugin", "list"]).as_array().unwrap() {
        let id = plugin["manifest"]["id"].as_str().unwrap();
        let info = backstay.run(&["plugin", "info", id, "--commands"]).ok().stdout;
        settings.bind(|| insta::assert_snapshot!(format!("plugin-{id}"), info));
    }
}

#[test]
fn what_a_backup_and_its_way_back_say() {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let scratch = backstay.scratch_dir().to_str().unwrap().to_owned();
    std::fs::create_dir_all(format!("{scratch}/source/sub")).unwrap();
    std::fs::create_dir(format!("{scratch}/place")).unwrap();
    std::fs::write(format!("{scratch}/source/sub/file"), "content").unwrap();
    backstay
        .apply(&format!(
            "name: words\nsource: {{ plugin: path, config: {{ path: {scratch}/source }} }}\ndestinations: [{{ plugin: local, config: {{ path: {scratch}/place }} }}]\n"
        ))
        .ok();
    let target = format!("{scratch}/target");
    let commands: [&[&str]; 14] = [
        &["job", "list"],
        &["job", "show", "words"],
        &["run", "words"],
        &["runs"],
        &["logs", "words"],
        &["backups"],
        &["verify", "latest:words", "--level", "archive"],
        &["restore", "latest:words", "--to", &target, "--dry-run"],
        &["restore", "latest:words", "--to", &target],
        &["restore", "latest:words", "--to", &target],
        &["recovery-kit", "latest:words"],
        &["run", "wrods"],
        &["restore", "latest:wrods", "--to", &target],
        &["job", "rm", "words"],
    ];
    let mut text = String::new();
    for command in commands {
        let output = backstay.run(command);
        text += &format!(
            "$ backstay {}\n{}{}[{}]\n\n",
            command.join(" "),
            output.stdout,
            output.stderr,
            output.code
        );
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&scratch, "DIR");
    settings.add_filter(r" on \S+, made", " on HOST, made");
    settings.add_filter(
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "ID",
    );
    settings.add_filter(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?", "TIME");
    settings.add_filter(r"\b[0-9a-f]{64}\b", "HASH");
    settings.add_filter(r"\d+\.\d s\b", "SECONDS");
    settings.bind(|| insta::assert_snapshot!("commands", text));
}
