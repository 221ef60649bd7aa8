//! People: signing in at an issuer, coming through a proxy, and seeing what GitHub lets them see.

mod oidc;
mod proxy;
mod visibility;
