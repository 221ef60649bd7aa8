//! People, as those say who know them, and what each of them may do here.

use serde_json::Value;

use super::{Role, Sight, Viewer};
use crate::settings::{AdminSettings, Who, is_login};

/// Somebody whom an issuer knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The issuer's id of them; it stays when an address goes to somebody else.
    pub subject: String,
    /// Their address in lower case, if the issuer verified it.
    pub email: Option<String>,
    /// The organisation that runs their account, if the issuer says so.
    pub organisation: Option<String>,
    /// Their groups.
    pub groups: Vec<String>,
    /// Their login at GitHub, if a claim holds one.
    pub login: Option<String>,
}

impl Person {
    /// From claims that are verified.
    pub fn of_claims(claims: &Value, groups_claim: &str, login_claim: Option<&str>) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let verified = claims.get("email_verified") == Some(&Value::Bool(true));
        let groups = match claims.get(groups_claim) {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(group)) => vec![group.clone()],
            _ => Vec::new(),
        };
        Self {
            subject: text("sub").unwrap_or_default().to_owned(),
            email: text("email").filter(|_| verified).map(str::to_lowercase),
            organisation: text("hd").map(str::to_lowercase),
            groups,
            login: login_claim.and_then(text).filter(|login| is_login(login)).map(str::to_owned),
        }
    }

    /// What the audit log and the pages show.
    pub fn who(&self) -> String {
        self.email.clone().unwrap_or_else(|| self.subject.clone())
    }

    /// Is this one of them? `hosted`: the issuer also has accounts with addresses of organisations that do not run them, so that only
    /// its own word for the organisation counts, and not what is behind the `@`.
    fn is_of(&self, who: &Who, hosted: bool) -> bool {
        let behind_at = self.email.as_deref().and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain);
        let domain = if hosted { self.organisation.as_deref() } else { behind_at };
        self.email.as_ref().is_some_and(|email| who.emails.contains(email))
            || domain.is_some_and(|domain| who.domains.iter().any(|known| known == domain))
            || self.groups.iter().any(|group| who.groups.contains(group))
    }
}

/// Lets a person in, or says no.
pub fn viewer(person: &Person, admin: &AdminSettings, hosted: bool) -> Option<Viewer> {
    let role = if person.is_of(&admin.operators, hosted) {
        Role::Operator
    } else if person.is_of(&admin.viewers, hosted) {
        Role::Viewer
    } else {
        return None;
    };
    let login = |visibility: &crate::settings::VisibilitySettings| {
        let written = person.email.as_ref().and_then(|email| visibility.logins.get(email));
        written.or(person.login.as_ref()).cloned()
    };
    let sight = admin.visibility.as_ref().map_or(Sight::Everything, |visibility| Sight::Repositories(login(visibility)));
    Some(Viewer { who: person.who(), role, sight })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn admin() -> AdminSettings {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        AdminSettings {
            operators: Who { emails: texts(&["ann@acme.example"]), groups: texts(&["deployers"]), ..Who::default() },
            viewers: Who { domains: texts(&["acme.example"]), ..Who::default() },
            ..AdminSettings::default()
        }
    }

    fn role(claims: Value, hosted: bool) -> Option<Role> {
        viewer(&Person::of_claims(&claims, "groups", None), &admin(), hosted).map(|viewer| viewer.role)
    }

    #[test]
    fn only_what_the_issuer_vouches_for_counts() {
        let ann = json!({ "sub": "1", "email": "Ann@Acme.example", "email_verified": true });
        assert_eq!(role(ann.clone(), false), Some(Role::Operator));
        let mut unverified = ann.clone();
        unverified["email_verified"] = json!(false);
        assert_eq!(role(unverified, false), None);
        let mut said_as_text = ann;
        said_as_text["email_verified"] = json!("true");
        assert_eq!(role(said_as_text, false), None);
        let bob = json!({ "sub": "2", "email": "bob@acme.example", "email_verified": true });
        assert_eq!(role(bob.clone(), false), Some(Role::Viewer));
        assert_eq!(role(bob.clone(), true), None, "an account with the address, which the organisation does not run");
        let mut hosted = bob;
        hosted["hd"] = json!("acme.example");
        assert_eq!(role(hosted, true), Some(Role::Viewer));
        assert_eq!(role(json!({ "sub": "3", "groups": ["deployers"] }), false), Some(Role::Operator));
        assert_eq!(role(json!({ "sub": "3", "groups": ["deployers2"] }), false), None);
        let tricky = json!({ "sub": "4", "email": "x@acme.example@elsewhere.example", "email_verified": true });
        assert_eq!(role(tricky, false), None);
    }
}
