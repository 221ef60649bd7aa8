//! The console: what its pages say without a script, who gets in, and how it is in a real browser.

mod browser;
mod pages;
mod signing_in;
