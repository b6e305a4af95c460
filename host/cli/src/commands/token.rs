//! `backstay token`: who may use the HTTP interface.

use std::path::PathBuf;

use backstay_model::access::{Role, Token};
use backstay_model::{Code, Error, Result};
use jiff::Timestamp;
use serde_json::json;

use crate::args::{Token as Command, TokenAdd, TokenRole};
use crate::commands::user;
use crate::output::{Output, table};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such token, or one of that name already.
pub async fn run(command: Command, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::engine(data_dir).await?;
    match command {
        Command::Add(args) => {
            let expires_at = expiry(&args, engine.clock.now())?;
            let added = engine.store.add_token(&args.name, role(args.role), expires_at);
            let (token, text) = engine.audited(&user(), "token.add", &args.name, added).await?;
            let mut value =
                serde_json::to_value(&token).map_err(|e| Error::internal("cannot write JSON").because(e))?;
            value["token"] = json!(text);
            output.note("this is the only time that the token is shown");
            output.print(&value, || text)?;
        }
        Command::List => {
            let tokens = engine.store.tokens().await?;
            output.print(&tokens, || {
                if tokens.is_empty() {
                    return "no tokens yet: `backstay token add NAME` makes one".to_owned();
                }
                let rows: Vec<_> = tokens
                    .iter()
                    .map(|token| row(token, engine.clock.now()))
                    .collect();
                table(&["name", "role", "made", "good until"], &rows)
            })?;
        }
        Command::Rm { token } => {
            let removed = engine.store.remove_token(&token);
            let removed = engine.audited(&user(), "token.remove", &token, removed).await?;
            output.print(&json!({ "removed": removed.id }), || {
                format!("removed {}", removed.name)
            })?;
        }
    }
    Ok(0)
}

fn role(role: TokenRole) -> Role {
    match role {
        TokenRole::Viewer => Role::Viewer,
        TokenRole::Operator => Role::Operator,
        TokenRole::Admin => Role::Admin,
    }
}

fn expiry(args: &TokenAdd, now: Timestamp) -> Result<Option<Timestamp>> {
    let Some(span) = args.expires else { return Ok(None) };
    match Token::expiry(now, span) {
        Some(at) => Ok(Some(at)),
        None => Err(Error::new(
            Code::Configuration,
            format!("--expires: {span} is no time to expire after"),
        )
        .hint("leave it out for a token that is good for ever")),
    }
}

fn row(token: &Token, now: Timestamp) -> Vec<String> {
    let day = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let until = match token.expires_at {
        None => "-".to_owned(),
        Some(at) if at <= now => format!("{} (expired)", day(at)),
        Some(at) => day(at),
    };
    vec![
        token.name.clone(),
        token.role.name().to_owned(),
        day(token.created_at),
        until,
    ]
}
