# Declic on Cloud Run with its store in Cloud SQL.

resource "google_project_service" "needed" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "cloudtasks.googleapis.com",
    "iamcredentials.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "sqladmin.googleapis.com",
  ])
  service            = each.value
  disable_on_destroy = false
}

# Values of secrets are added by hand, so that none is in the state: `gcloud secrets versions add`.
resource "google_secret_manager_secret" "value" {
  for_each  = toset(["github-webhook", "github-token", "database"])
  secret_id = "${var.name}-${each.value}"
  replication {
    auto {}
  }
  depends_on = [google_project_service.needed]
}

# Settings and rules hold no secrets; they are kept here because a service can mount them from here.
resource "google_secret_manager_secret" "file" {
  for_each  = toset(["settings", "rules"])
  secret_id = "${var.name}-${each.value}"
  replication {
    auto {}
  }
  depends_on = [google_project_service.needed]
}

resource "google_secret_manager_secret_version" "settings" {
  secret      = google_secret_manager_secret.file["settings"].id
  secret_data = file(var.settings)
}

resource "google_secret_manager_secret_version" "rules" {
  secret      = google_secret_manager_secret.file["rules"].id
  secret_data = file(var.rules)
}

# Reached by its socket only: no network is allowed in.
resource "google_sql_database_instance" "store" {
  name                = var.name
  database_version    = "POSTGRES_16"
  region              = var.region
  deletion_protection = true
  settings {
    tier = var.database_tier
    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
    }
    ip_configuration {
      ssl_mode = "ENCRYPTED_ONLY"
    }
  }
  depends_on = [google_project_service.needed]
}

resource "google_sql_database" "store" {
  name     = "declic"
  instance = google_sql_database_instance.store.name
}

resource "google_cloud_run_v2_service" "declic" {
  name     = var.name
  location = var.region
  ingress  = "INGRESS_TRAFFIC_ALL"
  template {
    service_account                  = google_service_account.declic.email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    timeout                          = "300s"
    max_instance_request_concurrency = 200
    scaling {
      min_instance_count = var.replicas.least
      max_instance_count = var.replicas.most
    }
    volumes {
      name = "settings"
      secret {
        secret = google_secret_manager_secret.file["settings"].secret_id
        items {
          version = google_secret_manager_secret_version.settings.version
          path    = "declic.yaml"
        }
      }
    }
    volumes {
      name = "rules"
      secret {
        secret = google_secret_manager_secret.file["rules"].secret_id
        items {
          version = google_secret_manager_secret_version.rules.version
          path    = "staging.yaml"
        }
      }
    }
    volumes {
      name = "cloudsql"
      cloud_sql_instance {
        instances = [google_sql_database_instance.store.connection_name]
      }
    }
    containers {
      image = var.image
      args  = ["serve", "--config", "/etc/declic/declic.yaml"]
      ports {
        container_port = 8080
      }
      resources {
        limits = { cpu = "1", memory = "512Mi" }
        # Runs go on after the answer, so the processor must not be taken away between requests.
        cpu_idle          = false
        startup_cpu_boost = true
      }
      startup_probe {
        period_seconds    = 1
        failure_threshold = 60
        http_get {
          path = "/readyz"
        }
      }
      liveness_probe {
        period_seconds = 10
        http_get {
          path = "/livez"
        }
      }
      dynamic "env" {
        for_each = {
          DECLIC_GITHUB_SECRET     = "github-webhook"
          DECLIC_GITHUB_TOKEN      = "github-token"
          DECLIC_DATABASE_PASSWORD = "database"
        }
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.value[env.value].secret_id
              version = "latest"
            }
          }
        }
      }
      volume_mounts {
        name       = "settings"
        mount_path = "/etc/declic"
      }
      volume_mounts {
        name       = "rules"
        mount_path = "/etc/declic-rules"
      }
      volume_mounts {
        name       = "cloudsql"
        mount_path = "/cloudsql"
      }
    }
  }
  depends_on = [google_secret_manager_secret_iam_member.declic_reads]
}

# Providers cannot log in to Google: Declic itself verifies every request, and answers only on its sources' paths to strangers.
resource "google_cloud_run_v2_service_iam_member" "anyone" {
  name     = google_cloud_run_v2_service.declic.name
  location = google_cloud_run_v2_service.declic.location
  role     = "roles/run.invoker"
  member   = "allUsers"
}

# For `cloud-tasks/create`: work for later, at a pace.
resource "google_cloud_tasks_queue" "declic" {
  name     = var.name
  location = var.region
  rate_limits {
    max_concurrent_dispatches = 50
  }
  retry_config {
    max_attempts = 100
    min_backoff  = "1s"
    max_backoff  = "300s"
  }
  depends_on = [google_project_service.needed]
}

# Artifact Registry tells of every image that is pushed on the topic of this name.
resource "google_pubsub_topic" "images" {
  name       = "gcr"
  depends_on = [google_project_service.needed]
}

resource "google_pubsub_subscription" "images" {
  name                       = "${var.name}-images"
  topic                      = google_pubsub_topic.images.id
  ack_deadline_seconds       = 30
  message_retention_duration = "604800s"
  push_config {
    push_endpoint = "${google_cloud_run_v2_service.declic.uri}/hooks/images"
    oidc_token {
      service_account_email = google_service_account.caller.email
      audience              = google_cloud_run_v2_service.declic.uri
    }
  }
  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "600s"
  }
  expiration_policy {
    ttl = ""
  }
}
