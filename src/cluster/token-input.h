/* A token from where the user keeps it. On the command line everybody on the host can read it, so it need not be there.
 */
#ifndef CLUSTER_TOKEN_INPUT_H
#define CLUSTER_TOKEN_INPUT_H

#include "auth/bootstrap-token.h"

/* From 'flag' ("-" is standard input), the file 'file', or $CORACLE_TOKEN, in that order. */
MUST_CHECK bool token_input(struct str flag, struct str file, char ret[BOOTSTRAP_TOKEN_SIZE], struct err *err);

#endif
