//! Name resolution with the guard in it: what is refused here is never connected to, whatever an earlier lookup said.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::http::guard::{Refused, refuse_address};

/// Names to addresses.
pub trait Lookup: Send + Sync {
    /// All addresses of a host, at this moment.
    fn lookup(&self, host: String) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>>;
}

/// The system's own resolution.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, host: String) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// Runs when a connection is made, so the addresses that were checked are the addresses that are connected to.
#[derive(Clone)]
pub(super) struct Resolver {
    lookup: Arc<dyn Lookup>,
    guarded: bool,
}

impl Resolver {
    pub(super) fn guarded(lookup: Arc<dyn Lookup>) -> Self {
        Self { lookup, guarded: true }
    }

    pub(super) fn open(lookup: Arc<dyn Lookup>) -> Self {
        Self { lookup, guarded: false }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Resolver").field("guarded", &self.guarded).finish_non_exhaustive()
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let addresses = self.lookup.lookup(host.clone());
        let guarded = self.guarded;
        Box::pin(async move {
            let addresses = addresses.await?;
            if guarded {
                // One private address among public ones is how rebinding begins: the whole name is refused.
                if let Some(reason) = addresses.iter().find_map(|address| refuse_address(*address)) {
                    return Err(Refused::name(&host, reason).into());
                }
            }
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
