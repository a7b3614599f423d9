/* Every bound of this room, with its reason. */
#ifndef AUTH_LIMITS_H
#define AUTH_LIMITS_H

/* --token-auth-file: 16 MB are 200,000 users. */
#define AUTH_MAX_TOKEN_FILE (16u << 20)
/* Groups of one user in that file, and names in a certificate are bounded by pki/limits.h. */
#define AUTH_MAX_GROUPS 4096
/* Credentials remembered as good. A node's kubelet, the managers and the pods that talk: a few hundred; a slot is 100 bytes and the
 * user behind it about 400. */
#define AUTH_CACHE_SLOTS 1024
/* How long a verified token is believed without looking again: as kube-apiserver does. A deleted pod's token works that long. */
#define AUTH_TOKEN_CACHE_S 10
/* The same for a client certificate, whose only change is its expiry, which is checked each time. */
#define AUTH_CERT_CACHE_S 300
/* Reviews asked of an apiserver at once. More callers than that are refused: strangers' tokens cost the apiserver work. */
#define AUTH_MAX_REVIEWS 256
/* How long an apiserver may take to answer one: the caller waits meanwhile. */
#define AUTH_REVIEW_TIMEOUT_MS 10000
/* A webhook that fails is asked this often in all, half a second apart and doubling: it may be restarting. */
#define AUTH_WEBHOOK_TRIES 4
#define AUTH_WEBHOOK_BACKOFF_MS 500u
/* A review as posted (a token and audiences; a user with thousands of groups), and the answer with its decoded form. Larger: no answer. */
#define AUTH_WEBHOOK_REVIEW (1u << 20)
#define AUTH_WEBHOOK_ANSWER (1u << 20)
#define AUTH_WEBHOOK_ARENA (8u << 20)
/* An OIDC issuer's discovery document; real ones are 2 KB. Its keys are bounded by JWKS_MAX_SIZE. */
#define AUTH_OIDC_MAX_DISCOVERY (256u << 10)
/* How long a fetch from it may take; requests wait for it. */
#define AUTH_OIDC_TIMEOUT_MS 10000
/* Fetches that tokens with unknown keys may cause: so many at once, and one more after each such time. */
#define AUTH_OIDC_BURST 4
#define AUTH_OIDC_REFILL_MS 10000
/* After a failure it is tried again so soon, after success so late: a withdrawn key works no longer than that. */
#define AUTH_OIDC_RETRY_MS 10000
#define AUTH_OIDC_REFRESH_MS 600000
/* The issuer's clock may be ahead by this much. */
#define AUTH_OIDC_NBF_LEEWAY_S 300
/* Answers remembered: the kubelet's defaults for --authentication-token-webhook-cache-ttl and --authorization-webhook-cache-*. */
#define AUTH_REVIEW_TTL_S 120
#define AUTH_REVIEW_ALLOWED_TTL_S 300
#define AUTH_REVIEW_DENIED_TTL_S 30
/* Slots of remembered decisions, 48 bytes each. */
#define AUTH_DECISION_SLOTS 1024
/* Memory of one remembered user. Larger ones are not remembered. */
#define AUTH_CACHE_MAX_USER (16u << 10)
/* Audiences in one token, and asked for in one TokenReview. */
#define AUTH_MAX_AUDIENCES 64
/* JSON nesting in claims. */
#define AUTH_CLAIMS_DEPTH 16
/* Clocks of issuer and verifier may differ by this much, seconds. */
#define AUTH_CLOCK_LEEWAY_S 60
/* Extra groups of one bootstrap token; kubeadm gives one. More makes the token useless. */
#define BOOTSTRAP_MAX_GROUPS 64
/* --authorization-policy-file: its size, a line (bufio.Scanner of the original takes no more), and its policies, looked at one by one. */
#define ABAC_MAX_FILE (16u << 20)
#define ABAC_MAX_LINE (64u << 10)
#define ABAC_MAX_POLICIES 100000
/* One RBAC object, copied. The API limits objects to 1.5 MB. */
#define RBAC_MAX_OBJECT (4u << 20)
/* Rules looked at when a role is checked for escalation: product of groups, resources, verbs and names. */
#define RBAC_MAX_BREAKDOWN (1u << 14)
/* Missing rights told in one refusal. */
#define RBAC_MAX_MISSING 256

#endif
