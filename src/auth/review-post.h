/*
 * A review (TokenReview, SubjectAccessReview) asked of somebody: an apiserver, at the resource's path (kubelet, delegated
 * authentication), or a webhook, posted to the very URL of its kubeconfig in version v1 or v1beta1 (Kubernetes documentation, "Webhook
 * Mode", "Webhook Token Authentication"). A webhook that cannot be reached, answers 429 or 5xx is asked again a few times.
 */
#ifndef AUTH_REVIEW_POST_H
#define AUTH_REVIEW_POST_H

#include "api/type.h"
#include "base/err.h"

struct client;
struct review_post;

struct review_target {
    struct client *client; /* outlives every review */
    const struct api_resource *resource; /* tokenreviews or subjectaccessreviews */
    bool webhook;
    bool beta; /* with 'webhook': v1beta1 */
};

/* 'object' is of the resource's type, or NULL with the reason. Lives until the function returns. Never called inside review_post_start(). */
typedef void review_post_fn(void *data, const void *object, const struct err *err);

/* Finds the resource and reads the version ("v1", "v1beta1", empty for the latter). */
MUST_CHECK bool review_target_init(struct review_target *t, struct client *client, const char *group, const char *resource, bool webhook,
                                   struct str version, struct err *err);
/* 'object' is copied. NULL (with the reason) when it cannot be written. */
MUST_CHECK struct review_post *review_post_start(const struct review_target *t, const void *object, review_post_fn *done, void *data,
                                                 struct err *err);
/* 'done' is not called any more. NULL-safe. */
void review_post_cancel(struct review_post *p);

#endif
