/* The flags of authentication and authorisation, and what must hold between them. */
#ifndef APISERVER_AUTH_FLAGS_H
#define APISERVER_AUTH_FLAGS_H

#include "apiserver/config.h"
#include "base/err.h"

/* Tables over struct apiserver_config. */
extern const struct flag apiserver_authentication_flags[];
extern const size_t apiserver_n_authentication_flags;
extern const struct flag apiserver_authorization_flags[];
extern const size_t apiserver_n_authorization_flags;

/* What the flags contradict, as kube-apiserver words it where it has words for it; warns of flags that have no effect. */
MUST_CHECK bool apiserver_auth_validate(const struct apiserver_config *c, struct err *err);

#endif
