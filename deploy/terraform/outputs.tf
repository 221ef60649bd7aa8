output "webhook" {
  description = "The address to give to GitHub."
  value       = "${google_cloud_run_v2_service.declic.uri}/hooks/github"
}

output "database" {
  description = "The connection name of the database, for `store:` in the settings."
  value       = google_sql_database_instance.store.connection_name
}

output "deployer" {
  description = "The account for `deploy-as` of the targets."
  value       = google_service_account.deployer.email
}

output "caller" {
  description = "The account that Pub/Sub and Cloud Tasks call with, for `auth: { oidc: … }` of sources."
  value       = google_service_account.caller.email
}
