//! The list of actions. A new one is a file here and two adjacent lines below; checker, schema, reference and metrics follow.

mod address;
mod auth;
mod dialogflow;
mod github;
mod google;
pub(crate) mod streak;

pub mod approve;
pub mod bigquery_insert;
pub mod cloud_run_deploy;
pub mod cloud_run_remove_tag;
pub mod cloud_run_rollback;
pub mod cloud_run_run_job;
pub mod cloud_run_tag;
pub mod cloud_run_traffic;
pub mod cloud_tasks_create;
pub mod dialogflow_detect_intent;
pub mod dialogflow_fulfill;
pub mod dialogflow_send_event;
pub mod discord_post;
pub mod exec_run;
pub mod fcm_send;
pub mod github_check_run;
pub mod github_comment;
pub mod github_deployment;
pub mod github_label;
pub mod github_pull_request;
pub mod github_react;
pub mod github_repository_dispatch;
pub mod github_status;
pub mod github_workflow_dispatch;
pub mod google_chat_post;
pub mod http_request;
pub mod log;
pub mod pubsub_publish;
pub mod slack;
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
    &github_label::GithubLabel,
    &github_check_run::GithubCheckRun,
    &github_workflow_dispatch::GithubWorkflowDispatch,
    &github_repository_dispatch::GithubRepositoryDispatch,
    &slack_post::SlackPost,
    &slack_respond::SlackRespond,
    &discord_post::DiscordPost,
    &google_chat_post::GoogleChatPost,
    &x_post::XPost,
    &fcm_send::FcmSend,
    &bigquery_insert::BigqueryInsert,
    &pubsub_publish::PubsubPublish,
    &cloud_tasks_create::CloudTasksCreate,
    &http_request::HttpRequest,
    &dialogflow_fulfill::DialogflowFulfill,
    &dialogflow_detect_intent::DialogflowDetectIntent,
    &dialogflow_send_event::DialogflowSendEvent,
    &wait_until::WaitUntil,
    &approve::Approve,
    &log::Log,
    &exec_run::ExecRun,
];

/// The action of that name, as in `uses:`.
pub fn find(name: &str) -> Option<&'static dyn Action> {
    ALL.iter().copied().find(|action| action.spec().name == name)
}
