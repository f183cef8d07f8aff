//! The credentials in a request (RFC 7617): `Basic`, and `user:password` in base64.

use std::fmt;

use crate::encoding::LENIENT;

/// The user name and password of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Any text.
    pub user: String,
    /// Any bytes.
    pub password: Vec<u8>,
}

/// Omits the password, so that it is never logged.
impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Credentials({:?})", self.user)
    }
}

/// Parses the value of `Authorization`; absent for other schemes and invalid values.
pub fn parse(value: &[u8]) -> Option<Credentials> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let bytes = LENIENT.decode(rest.trim_ascii())?;
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let (user, password) = bytes.split_at_checked(colon)?;
    Some(Credentials { user: String::from_utf8(user.to_vec()).ok()?, password: password.get(1..)?.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read() {
        for (value, user, password) in [
            // The examples of RFC 7617.
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),
            ("basic dGVzdDoxMjPCow==", "test", "123£"),
            ("BASIC  dGVzdDoxMjPCow", "test", "123£"),
            ("Basic YTpiOmM=", "a", "b:c"),
            ("Basic Og==", "", ""),
        ] {
            let credentials = parse(value.as_bytes()).unwrap_or_else(|| panic!("{value}"));
            assert_eq!((credentials.user.as_str(), credentials.password.as_slice()), (user, password.as_bytes()));
            assert!(!format!("{credentials:?}").contains("sesame"));
        }
    }

    #[test]
    fn what_is_none_is_none() {
        for value in ["", "Basic", "Basic ", "Bearer YTpi", "Basic YWI=", "Basic Y!pi", "Basic /zpi", "Basicx YTpi"] {
            assert_eq!(parse(value.as_bytes()), None, "{value}");
        }
    }
}
