//! What another macro put in as one piece: `$e:expr` and the like, which arrive in groups without delimiters.
//!
//! syn looks through such groups, so that `2 - $e` with `-y - 5` would read as `2 - -y - 5`. Here a piece of several tokens
//! is opaque: nothing peeks into it ([`Look`]), and who can use one takes it as a whole ([`Parser::whole`]). A piece of one
//! token is that token.

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};
use syn::parse::{ParseBuffer, ParseStream, Parser as _, Peek};

use super::{Parsed, Parser, Reported};

/// Peeks that see a piece of several tokens as what it is.
pub(super) trait Look {
    /// Whether this is next, outside of any piece.
    fn at<T: Peek>(&self, token: T) -> bool;
    /// Whether this comes after one other token, both outside of any piece.
    fn at2<T: Peek>(&self, token: T) -> bool;
}

impl Look for ParseBuffer<'_> {
    fn at<T: Peek>(&self, token: T) -> bool {
        !at_piece(self) && self.peek(token)
    }

    fn at2<T: Peek>(&self, token: T) -> bool {
        let second = self.cursor().token_tree().map(|(_, rest)| rest);
        let opaque = second.is_none_or(|rest| rest.group(Delimiter::None).is_some());
        !at_piece(self) && !opaque && self.peek2(token)
    }
}

/// Whether a piece of several tokens is next.
pub(super) fn at_piece(input: ParseStream<'_>) -> bool {
    input.cursor().group(Delimiter::None).is_some()
}

/// The same tokens without groups that have no effect: those of one token, those of none, and a visibility.
pub(super) fn flat(tokens: TokenStream) -> TokenStream {
    if !has_piece(&tokens) {
        return tokens;
    }
    let mut kept = Vec::new();
    let mut trees = tokens.into_iter().peekable();
    while let Some(tree) = trees.next() {
        match tree {
            // What an attribute is made of is for syn to read.
            TokenTree::Punct(ref punct) if punct.as_char() == '#' => {
                kept.push(tree);
                kept.extend(trees.next_if(is_brackets));
            }
            TokenTree::Group(group) => {
                let inner = flat(group.stream());
                match group.delimiter() {
                    Delimiter::None if is_one(&inner) => kept.extend(inner),
                    delimiter => {
                        let mut whole = Group::new(delimiter, inner);
                        whole.set_span(group.span());
                        kept.push(whole.into());
                    }
                }
            }
            tree => kept.push(tree),
        }
    }
    kept.into_iter().collect()
}

fn is_brackets(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket)
}

fn has_piece(tokens: &TokenStream) -> bool {
    tokens.clone().into_iter().any(|tree| match tree {
        TokenTree::Group(group) => group.delimiter() == Delimiter::None || has_piece(&group.stream()),
        _ => false,
    })
}

/// Whether a piece is what its tokens are one by one.
fn is_one(tokens: &TokenStream) -> bool {
    let mut trees = tokens.clone().into_iter();
    match (trees.next(), trees.next()) {
        (None, _) | (Some(_), None) => true,
        (Some(TokenTree::Ident(first)), Some(_)) => first == "pub",
        _ => false,
    }
}

impl Parser<'_> {
    /// Reads with this. Where another macro put in a piece of several tokens, it is read to its end.
    pub(super) fn whole<T>(
        &mut self,
        input: ParseStream<'_>,
        read: fn(&mut Self, ParseStream<'_>) -> Parsed<T>,
    ) -> Parsed<T> {
        let Some(tokens) = piece(input) else { return read(self, input) };
        let _: TokenTree = self.ask(input.parse())?;
        let mut result = Err(Reported);
        let inner = |content: ParseStream<'_>| {
            result = self.deeper(content, |parser, content| {
                let inner = read(parser, content)?;
                if content.is_empty() { Ok(inner) } else { parser.expected("nothing more", content) }
            });
            self.skip(content, |_| false);
            Ok(())
        };
        let parsed = inner.parse2(tokens);
        let inner = result?;
        self.ask(parsed)?;
        Ok(inner)
    }
}

/// The tokens of the piece that is next.
fn piece(input: ParseStream<'_>) -> Option<TokenStream> {
    match input.cursor().token_tree()? {
        (TokenTree::Group(group), _) if group.delimiter() == Delimiter::None => Some(group.stream()),
        _ => None,
    }
}

/// Whether the piece that is next is `name = value`.
pub(super) fn at_named_piece(input: ParseStream<'_>) -> bool {
    let Some(tokens) = piece(input) else { return false };
    let mut trees = tokens.into_iter();
    let name = matches!(trees.next(), Some(TokenTree::Ident(_)));
    let is_equals = |tree| matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == '=');
    name && is_equals(trees.next()) && !is_equals(trees.next())
}

/// The next token, in words.
pub(super) fn describe(input: ParseStream<'_>) -> String {
    let Some((tree, rest)) = input.cursor().token_tree() else { return "the end".to_string() };
    match tree {
        TokenTree::Group(group) => match group.delimiter() {
            Delimiter::Parenthesis => "`(`".to_string(),
            Delimiter::Brace => "`{`".to_string(),
            Delimiter::Bracket => "`[`".to_string(),
            Delimiter::None => format!("`{group}`"),
        },
        TokenTree::Punct(first) if first.spacing() == Spacing::Joint => match rest.punct() {
            Some((second, _)) if matches!(second.as_char(), '=' | '>' | ':' | '&' | '|') => {
                format!("`{}{}`", first.as_char(), second.as_char())
            }
            _ => format!("`{}`", first.as_char()),
        },
        other => format!("`{other}`"),
    }
}
