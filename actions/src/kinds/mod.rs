//! The list of actions. A new one is a file here and two adjacent lines below; checker, schema, reference and metrics follow.

mod auth;
mod github;
mod google;
mod slack;

pub mod approve;
pub mod bigquery_insert;
pub mod cloud_run_deploy;
pub mod cloud_run_remove_tag;
pub mod cloud_run_rollback;
pub mod cloud_run_run_job;
pub mod cloud_run_tag;
pub mod cloud_run_traffic;
pub mod dialogflow_fulfill;
pub mod fcm_send;
pub mod github_comment;
pub mod github_deployment;
pub mod github_pull_request;
pub mod github_react;
pub mod github_status;
pub mod http_request;
pub mod log;
pub mod pubsub_publish;
pub mod slack_post;
pub mod slack_respond;
pub mod wait_until;
pub mod x_post;

use crate::action::Action;

/// Every action, in the order of the reference.
pub static ALL: &[&dyn Action] = &[
    &cloud_run_deploy::CloudRunDeploy,
    &cloud_run_traffic::CloudRunTraffic,
    &cloud_run_rollback::CloudRunRollback,
    &cloud_run_tag::CloudRunTag,
    &cloud_run_remove_tag::CloudRunRemoveTag,
    &cloud_run_run_job::CloudRunRunJob,
    &github_comment::GithubComment,
    &github_status::GithubStatus,
    &github_deployment::GithubDeployment,
    &github_react::GithubReact,
    &github_pull_request::GithubPullRequest,
    &slack_post::SlackPost,
    &slack_respond::SlackRespond,
    &x_post::XPost,
    &fcm_send::FcmSend,
    &bigquery_insert::BigqueryInsert,
    &pubsub_publish::PubsubPublish,
    &http_request::HttpRequest,
    &dialogflow_fulfill::DialogflowFulfill,
    &wait_until::WaitUntil,
    &approve::Approve,
    &log::Log,
];

/// The action of that name, as in `uses:`.
pub fn find(name: &str) -> Option<&'static dyn Action> {
    ALL.iter().copied().find(|action| action.spec().name == name)
}
