# Three accounts, each with as little as it needs. No key is made for any of them.

# What Declic runs as: it reads its own secrets, and may act as the deployer.
resource "google_service_account" "declic" {
  account_id   = var.name
  display_name = "Declic"
  depends_on   = [google_project_service.needed]
}

# What changes services; named as `deploy-as` of the targets.
resource "google_service_account" "deployer" {
  account_id   = "${var.name}-deployer"
  display_name = "Declic, when it deploys"
  depends_on   = [google_project_service.needed]
}

# What Pub/Sub and Cloud Tasks prove to be when they call Declic.
resource "google_service_account" "caller" {
  account_id   = "${var.name}-caller"
  display_name = "Calls Declic"
  depends_on   = [google_project_service.needed]
}

resource "google_service_account_iam_member" "declic_is_deployer" {
  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_service_account.declic.member
}

# A task that carries a token of the caller's may be made by whoever may act as the caller.
resource "google_service_account_iam_member" "declic_uses_caller" {
  service_account_id = google_service_account.caller.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.declic.member
}

resource "google_secret_manager_secret_iam_member" "declic_reads" {
  for_each  = merge(google_secret_manager_secret.value, google_secret_manager_secret.file)
  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.declic.member
}

resource "google_project_iam_member" "declic_reaches_database" {
  project = var.project
  role    = "roles/cloudsql.client"
  member  = google_service_account.declic.member
}

resource "google_cloud_tasks_queue_iam_member" "declic_enqueues" {
  name     = google_cloud_tasks_queue.declic.name
  location = google_cloud_tasks_queue.declic.location
  role     = "roles/cloudtasks.enqueuer"
  member   = google_service_account.declic.member
}

# On each target and nowhere else.
resource "google_cloud_run_v2_service_iam_member" "deployer_deploys" {
  for_each = var.targets
  name     = each.key
  location = each.value.region
  role     = "roles/run.developer"
  member   = google_service_account.deployer.member
}

resource "google_service_account_iam_member" "deployer_runs_as" {
  for_each           = var.targets
  service_account_id = "projects/${var.project}/serviceAccounts/${each.value.runs_as}"
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.deployer.member
}

resource "google_artifact_registry_repository_iam_member" "deployer_reads_images" {
  for_each   = var.targets
  repository = each.value.repository
  location   = each.value.repository_region
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.deployer.member
}
