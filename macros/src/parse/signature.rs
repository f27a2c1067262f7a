//! What stands between the name of a network and its body: sizes, inputs and outputs.

use proc_macro2::Ident;
use syn::parse::ParseStream;
use syn::{Token, token};

use super::groups::Look;
use super::{DTYPES, Parsed, Parser, Reported, peek_word};
use crate::ast::{Expr, Port, Site, Size};

/// What a signature is made of, for messages.
const PORT: &str = "a port like `x: [B, 8]`";

/// What a network that is told its sizes names them by, for messages.
const SIZE: &str = "a size like `hidden: usize = 128`";

impl Parser<'_> {
    /// `name: usize = default`
    pub(super) fn size(&mut self, input: ParseStream<'_>) -> Parsed<Size> {
        let docs = self.attributes(input)?;
        self.only_docs(&docs, "size");
        let name = self.name(input, SIZE)?;
        if !input.at(Token![:]) {
            return self.expected(&format!("`: usize`, as in {SIZE}"), input);
        }
        self.eat::<Token![:]>(input, "`:`")?;
        let ty = self.name(input, "`usize`")?;
        if ty != "usize" {
            self.errors.size_of_other_type(&ty);
        }
        self.eat::<Token![=]>(input, "`=` and what it is unless it is chosen")?;
        Ok(Size { docs, name, default: self.expr(input)? })
    }

    /// `<inputs -> outputs>`
    pub(super) fn signature(
        &mut self,
        input: ParseStream<'_>,
        inputs: &mut Vec<Port>,
        outputs: &mut Vec<Port>,
    ) -> Parsed<()> {
        self.eat::<Token![<]>(input, "`<`")?;
        self.ports(input, inputs)?;
        if input.at(Token![->]) {
            self.eat::<Token![->]>(input, "`->`")?;
        } else {
            let missing: Parsed<()> = self.expected("`->`", input);
            let goes_on = input.at(token::Bracket) || input.at(syn::Ident) && input.at2(Token![:]);
            if !goes_on {
                return missing;
            }
        }
        self.ports(input, outputs)?;
        self.eat::<Token![>]>(input, "`>`")
    }

    /// One port, or several in parentheses.
    pub(super) fn ports(&mut self, input: ParseStream<'_>, ports: &mut Vec<Port>) -> Parsed<()> {
        if !input.at(token::Paren) {
            ports.push(self.port(input)?);
            return Ok(());
        }
        *ports = self.group(input, |parser, content| {
            if content.is_empty() {
                return parser.expected(PORT, content);
            }
            Ok(parser.list(content, |_| None, Parser::port))
        })?;
        Ok(())
    }

    /// `name: [dtype; dims]`
    pub(super) fn port(&mut self, input: ParseStream<'_>) -> Parsed<Port> {
        let mut name = None;
        if input.at(syn::Ident) {
            let ident: Ident = self.ask(input.parse())?;
            if !input.at(Token![:]) || !input.at2(token::Bracket) {
                self.errors.port_without_shape(&ident);
                return Err(Reported);
            }
            self.eat::<Token![:]>(input, "`:`")?;
            name = Some(ident);
        }
        if !input.at(token::Bracket) {
            return self.expected(PORT, input);
        }
        let site = Site::from(input.cursor().span());
        let (mut dtype, mut dims) = (None, Vec::new());
        self.group(input, |parser, content| {
            let names_type = DTYPES.iter().any(|known| peek_word(content, known));
            if content.at(syn::Ident) && (names_type || content.at2(Token![;])) {
                dtype = Some(parser.ask(content.parse())?);
                parser.eat::<Token![;]>(content, "`;`")?;
            }
            dims = parser.list(content, |at| Some(Expr::broken(at)), Parser::expr);
            Ok(())
        })?;
        Ok(Port { name, dtype, dims, site })
    }
}
