/* The store of a server: its flags, and opening it. */
#ifndef APISERVER_STORE_SETUP_H
#define APISERVER_STORE_SETUP_H

#include "apiserver/server.h"

/* Over struct apiserver_config. */
extern const struct flag apiserver_store_flags[];
extern const size_t apiserver_n_store_flags;

/* What contradicts itself, or is not built. --etcd-servers alone chooses etcd. */
MUST_CHECK bool store_setup_validate(struct apiserver_config *c, const struct flag_result *flags, struct err *err);
MUST_CHECK bool store_setup_open(struct apiserver *s, struct err *err);

#endif
