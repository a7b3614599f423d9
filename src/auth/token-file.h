/*
 * The static token file (--token-auth-file): lines of CSV (RFC 4180)
 *
 *     token,user,uid,"group1,group2"
 *
 * The groups may be left out. Blank lines are fine. A token that comes twice counts as it comes last.
 */
#ifndef AUTH_TOKEN_FILE_H
#define AUTH_TOKEN_FILE_H

#include "auth/user.h"

struct token_file;

/* NULL with a reason that names the line. 'text' may go afterwards. */
MUST_CHECK struct token_file *token_file_parse(struct str text, struct err *err);
struct token_file *token_file_free(struct token_file *f);
/* The user, borrowed from the file, or NULL. Tokens are kept and compared as digests. */
const struct auth_user *token_file_find(const struct token_file *f, struct str token);
size_t token_file_count(const struct token_file *f);

#endif
