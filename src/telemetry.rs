//! Log lines: Cloud Logging's JSON on Cloud Run, readable ones elsewhere. No secret and no body in any of them.
