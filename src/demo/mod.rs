//! `declic demo`: the whole path on this machine.

pub mod stand_ins;
