//! `/repositories`: the rules that repositories bring themselves.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::problem::Failure;
use super::state::State;
use crate::access::Viewer;
use crate::repositories::Standing;

/// A repository that may bring rules of its own.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Repository {
    /// GitHub's number of it.
    pub id: i64,
    /// `owner/name`, as it is called now.
    pub name: String,
    /// Were its rules looked at since this process started? That is done when its first delivery comes.
    pub read: bool,
    /// The commit of the rules in force.
    pub commit: Option<String>,
    /// Their revision: what their runs are stamped with.
    pub revision: Option<String>,
    /// How many there are.
    pub rules: u64,
    /// How many of them are off because of `require:`.
    pub off: u64,
    /// Why those are off.
    pub unmet: Option<String>,
    /// Why the rules in force are not those of its default branch, or why there are none.
    pub fault: Option<String>,
}

impl From<Standing> for Repository {
    fn from(standing: Standing) -> Self {
        let Standing { id, name, read, commit, revision, rules: (rules, off), unmet, fault } = standing;
        Self { id, name, read, commit, revision, rules: rules as u64, off: off as u64, unmet, fault }
    }
}

#[derive(Debug, Object)]
pub(super) struct Repositories {
    /// In the order of their numbers.
    items: Vec<Repository>,
}

/// The operations.
pub(super) struct RepositoriesApi(pub Arc<State>);

#[OpenApi]
impl RepositoriesApi {
    /// List the repositories that may bring rules, and what is in force of them
    #[oai(path = "/repositories", method = "get", operation_id = "listRepositories")]
    async fn list(&self, viewer: Data<&Viewer>) -> Result<Json<Repositories>, Failure> {
        Ok(Json(Repositories { items: self.0.repositories(&viewer).await }))
    }
}

impl State {
    /// The repositories that may be seen, with what is in force of their rules.
    pub(crate) async fn repositories(&self, viewer: &Viewer) -> Vec<Repository> {
        let mut items = Vec::new();
        for one in self.parts.repositories.standings() {
            if self.sees(viewer, Some(&one.name)).await {
                items.push(Repository::from(one));
            }
        }
        items
    }
}
