//! Images: their names, and what a registry says about them.

mod image;
mod lookup;

pub(crate) use image::{Image, is_digest};
pub(crate) use lookup::{Found, look_up};
