//! The permission of an App that a request needs, from its method and path: tokens are asked for no more than that.

use http::Method;

/// One permission of an App's installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Permission {
    /// GitHub's word: `contents`.
    pub(super) name: &'static str,
    /// `read` or `write`.
    pub(super) level: &'static str,
}

/// What a request needs, any of which will do; the first is asked for first.
pub(super) fn alternatives(method: &Method, path: &str) -> Vec<Permission> {
    let level = if *method == Method::GET { "read" } else { "write" };
    let path = path.split('?').next().unwrap_or(path);
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let rest = match segments.as_slice() {
        ["repos", _, _, rest @ ..] => rest,
        ["orgs", _, ..] => return vec![Permission { name: "members", level }],
        _ => &[],
    };
    let names: &[&'static str] = match rest {
        ["statuses", ..] | ["commits", _, "status" | "statuses"] => &["statuses"],
        ["check-runs", ..] | ["commits", .., "check-runs"] => &["checks"],
        ["deployments", ..] => &["deployments"],
        // Comments and labels of pull requests are those of issues; either permission reaches them.
        ["issues", ..] => &["issues", "pull_requests"],
        ["pulls", ..] => &["pull_requests"],
        ["actions", ..] => &["actions"],
        ["hooks", ..] => &["repository_hooks"],
        ["branches", _, "protection", ..] => &["administration"],
        [] | ["collaborators" | "branches", ..] | ["rules", ..] => &["metadata", "contents"],
        _ => &["contents"],
    };
    // Everybody who is installed may read what is called metadata, and nobody may write it.
    let names = names.iter().filter(|name| level == "read" || **name != "metadata");
    names.map(|name| Permission { name, level }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_asks_for_the_one_permission_it_needs() {
        let first = |method: Method, path: &str| {
            let Permission { name, level } = alternatives(&method, path)[0];
            format!("{name}:{level}")
        };
        for (method, path, wanted) in [
            (Method::GET, "/repos/o/r/contents/.declic?ref=1", "contents:read"),
            (Method::GET, "/repos/o/r/git/blobs/1", "contents:read"),
            (Method::GET, "/repos/o/r/branches/main", "metadata:read"),
            (Method::GET, "/repos/o/r/branches/main/protection", "administration:read"),
            (Method::POST, "/repos/o/r/statuses/1", "statuses:write"),
            (Method::GET, "/repos/o/r/commits/main/check-runs", "checks:read"),
            (Method::POST, "/repos/o/r/commits/1/comments", "contents:write"),
            (Method::PATCH, "/repos/o/r/issues/comments/1", "issues:write"),
            (Method::PUT, "/repos/o/r/pulls/1/merge", "pull_requests:write"),
            (Method::POST, "/repos/o/r/dispatches", "contents:write"),
            (Method::GET, "/orgs/o/teams/t/memberships/u", "members:read"),
        ] {
            assert_eq!(first(method, path), wanted, "{path}");
        }
    }
}
