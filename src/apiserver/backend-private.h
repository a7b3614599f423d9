/* What backend.c and backend-headers.c share. */
#ifndef APISERVER_BACKEND_PRIVATE_H
#define APISERVER_BACKEND_PRIVATE_H

#include "net/http.h"

/* Is it a header of one hop: by RFC 9110 7.6.1, or named by the message's Connection? Names are in lower case. */
bool backend_is_hop_header(const struct http_headers *all, struct str name);

#endif
