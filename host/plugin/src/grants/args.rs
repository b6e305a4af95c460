//! Patterns for the arguments of a program.

use backstay_model::plugin::ArgPattern;

use super::Values;

/// A compiled pattern for a whole list of arguments.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    steps: Vec<Step>,
    open_ended: bool,
}

#[derive(Debug, Clone)]
enum Step {
    One(Option<Token>),
    Optional(Option<Vec<Token>>),
}

/// Literal pieces with anything between them. Values from the configuration are always literal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token(Vec<String>);

impl Pattern {
    /// Compiles the patterns of a manifest. What has a placeholder without a value matches nothing.
    pub(super) fn new(args: &[ArgPattern], values: Values<'_>) -> Self {
        let open_ended = matches!(args.last(), Some(ArgPattern::One(last)) if last == "**");
        let args = if open_ended { &args[..args.len() - 1] } else { args };
        let steps = args
            .iter()
            .map(|arg| match arg {
                ArgPattern::One(one) => Step::One(Token::new(one, values)),
                ArgPattern::Optional(group) => {
                    Step::Optional(group.iter().map(|one| Token::new(one, values)).collect())
                }
            })
            .collect();
        Pattern { steps, open_ended }
    }

    pub(super) fn matches(&self, args: &[String]) -> bool {
        matches_from(&self.steps, args, self.open_ended)
    }
}

fn matches_from(steps: &[Step], args: &[String], open_ended: bool) -> bool {
    match steps.split_first() {
        None => open_ended || args.is_empty(),
        Some((Step::One(token), rest)) => match (token, args.split_first()) {
            (Some(token), Some((arg, args))) => token.matches(arg) && matches_from(rest, args, open_ended),
            _ => false,
        },
        Some((Step::Optional(group), rest)) => {
            let with = group.as_ref().is_some_and(|group| {
                args.len() >= group.len()
                    && group.iter().zip(args).all(|(token, arg)| token.matches(arg))
                    && matches_from(rest, &args[group.len()..], open_ended)
            });
            with || matches_from(rest, args, open_ended)
        }
    }
}

impl Token {
    fn new(text: &str, values: Values<'_>) -> Option<Self> {
        text.split('*')
            .map(|piece| values.fill(piece))
            .collect::<Option<Vec<_>>>()
            .map(Token)
    }

    fn matches(&self, arg: &str) -> bool {
        let [first, middle @ ..] = self.0.as_slice() else {
            return false;
        };
        let Some((last, middle)) = middle.split_last() else {
            return arg == first;
        };
        // A value must not become an option of the program.
        if first.is_empty() && arg.starts_with('-') {
            return false;
        }
        let Some(mut rest) = arg
            .strip_prefix(first.as_str())
            .and_then(|a| a.strip_suffix(last.as_str()))
        else {
            return false;
        };
        for piece in middle {
            match rest.find(piece.as_str()) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn pattern(args: Value, config: Value) -> Pattern {
        let args: Vec<ArgPattern> = serde_json::from_value(args).unwrap();
        let config: Map<String, Value> = serde_json::from_value(config).unwrap();
        Pattern::new(
            &args,
            Values {
                config: &config,
                target: Some("tank/new"),
            },
        )
    }

    fn matches(pattern: &Pattern, line: &str) -> bool {
        pattern.matches(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_plugin_may_send_its_own_dataset_and_no_other() {
        let send = pattern(
            json!([
                "send",
                ["-R"],
                ["-i", "{config.poolName}@*"],
                "{config.poolName}@backstay-*"
            ]),
            json!({ "poolName": "tank/data" }),
        );
        assert!(matches(&send, "send tank/data@backstay-1"));
        assert!(matches(&send, "send -R -i tank/data@old tank/data@backstay-1"));
        for line in [
            "send tank/other@backstay-1",
            "send tank/data@mine",
            "send -D tank/data@backstay-1",
            "send -i tank/data@backstay-1",
            "send tank/data@backstay-1 more",
            "destroy tank/data@backstay-1",
        ] {
            assert!(!matches(&send, line), "{line}");
        }
    }

    #[test]
    fn a_star_in_front_never_stands_for_an_option() {
        let rm = pattern(json!(["*"]), json!({}));
        assert!(matches(&rm, "file"));
        assert!(!matches(&rm, "-rf"));
    }

    #[test]
    fn a_star_in_a_value_is_only_a_star() {
        let list = pattern(json!(["list", "{config.poolName}"]), json!({ "poolName": "*" }));
        assert!(!matches(&list, "list tank"));
        assert!(matches(&list, "list *"));
    }

    #[test]
    fn a_placeholder_without_a_value_grants_nothing() {
        let list = pattern(json!(["list", "{config.absent}"]), json!({}));
        assert!(!matches(&list, "list x") && !list.matches(&["list".to_owned(), String::new()]));
    }

    #[test]
    fn the_target_of_a_restore_can_be_named() {
        assert!(matches(
            &pattern(json!(["receive", "{target}"]), json!({})),
            "receive tank/new"
        ));
    }

    proptest! {
        #[test]
        fn what_matches_has_the_literal_ends(arg in ".{0,20}") {
            let token = Token(vec!["a@".to_owned(), "-z".to_owned()]);
            prop_assert_eq!(token.matches(&arg), arg.len() >= 4 && arg.starts_with("a@") && arg.ends_with("-z"));
        }
    }
}
