variable "project" {
  description = "The project that Declic runs in."
  type        = string
}

variable "region" {
  description = "The region of service, database and queue."
  type        = string
  default     = "europe-west1"
}

variable "name" {
  description = "The name of the service, and the beginning of all other names."
  type        = string
  default     = "declic"
}

variable "image" {
  description = "Declic's image in an Artifact Registry repository, best by its digest."
  type        = string
}

variable "settings" {
  description = "The file with Declic's settings."
  type        = string
  default     = "declic.yaml"
}

variable "rules" {
  description = "The file with the rules."
  type        = string
  default     = "staging.yaml"
}

variable "database_tier" {
  description = "The machine of the database."
  type        = string
  default     = "db-f1-micro"
}

variable "replicas" {
  description = "The least and the most instances. With `dispatch: local` at least one has to run all the time."
  type        = object({ least = number, most = number })
  default     = { least = 1, most = 3 }
}

variable "targets" {
  description = "Services that Declic may deploy to: by name, with region, the account they run as and the repository of their images."
  type = map(object({
    region            = string
    runs_as           = string
    repository        = string
    repository_region = string
  }))
  default = {}
}
