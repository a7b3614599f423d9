/*
 * libssh, loaded when SSH tunnels are first asked for: a table of the functions that are used here. Linking it would cost every
 * program of the one executable its loading and memory (README.md, Measured).
 */
#ifndef TUNNEL_SSH_LIB_H
#define TUNNEL_SSH_LIB_H

#include <libssh/callbacks.h>
#include <libssh/libssh.h>

#include "base/err.h"

#define SSH_LIB_FUNCTIONS(X) \
    X(ssh_new) X(ssh_free) X(ssh_options_set) X(ssh_set_blocking) X(ssh_set_log_level) X(ssh_connect) X(ssh_disconnect) \
    X(ssh_is_connected) X(ssh_get_status) X(ssh_get_poll_flags) X(ssh_get_error) X(ssh_get_server_publickey) X(ssh_version) \
    X(ssh_get_publickey_hash) X(ssh_get_fingerprint_hash) X(ssh_clean_pubkey_hash) X(ssh_string_free_char) \
    X(ssh_userauth_publickey) X(ssh_event_new) X(ssh_event_free) X(ssh_event_add_session) X(ssh_event_dopoll) \
    X(ssh_channel_new) X(ssh_channel_free) X(ssh_channel_close) X(ssh_channel_open_forward) X(ssh_channel_read_nonblocking) \
    X(ssh_channel_write) X(ssh_channel_send_eof) X(ssh_channel_window_size) X(ssh_set_channel_callbacks) \
    X(ssh_remove_channel_callbacks) X(ssh_key_free) X(ssh_key_type) X(ssh_key_type_to_char) X(ssh_pki_generate) \
    X(ssh_pki_import_privkey_file) X(ssh_pki_export_privkey_file) X(ssh_pki_export_pubkey_base64) X(ssh_pki_key_ecdsa_name)

struct ssh_lib {
#define SSH_LIB_MEMBER(name) __typeof__(name) *name;
    SSH_LIB_FUNCTIONS(SSH_LIB_MEMBER)
#undef SSH_LIB_MEMBER
};

/* Loads it once; NULL with the reason when it is not installed. Never unloaded. */
MUST_CHECK const struct ssh_lib *ssh_lib(struct err *err);

#endif
