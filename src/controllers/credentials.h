/*
 * Credentials of one controller: a bound token of its service account in kube-system, asked for
 * with the manager's own rights and renewed before it ends (--use-service-account-credentials). So
 * a controller can do no more than its role says.
 */
#ifndef CONTROLLERS_CREDENTIALS_H
#define CONTROLLERS_CREDENTIALS_H

#include "client/client.h"

struct credentials;

/* Asks by 'manager' for tokens of the account (which is made when it is absent) and sets them on
 * 'client'. 'ready' is called once, when the first is there. */
struct credentials *credentials_new(struct client *manager, struct client *client,
                                    const char *account, void (*ready)(void *data), void *data);
/* NULL-safe. Before the clients are freed. */
struct credentials *credentials_free(struct credentials *c);

#endif
