//! A repository by its number, or the one whose turn it is.

use std::str::FromStr;

use crate::state::turns::RepoWish;

/// `N` or `any`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoArg {
    Number(u32),
    Any,
}

impl From<RepoArg> for RepoWish {
    fn from(repo: RepoArg) -> Self {
        match repo {
            RepoArg::Number(number) => Self::Number(number),
            RepoArg::Any => Self::Any,
        }
    }
}

impl FromStr for RepoArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let number = text.parse().ok().filter(|number| (1..=256).contains(number));
        number.map(Self::Number).ok_or("must be a number from 1 to 256, or any")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_a_number_or_any() {
        assert_eq!(["any", "2"].map(str::parse), [Ok(RepoArg::Any), Ok(RepoArg::Number(2))]);
        for text in ["", "0", "257", "all", "-1"] {
            assert!(text.parse::<RepoArg>().is_err(), "{text}");
        }
    }
}
