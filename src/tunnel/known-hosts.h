/*
 * OpenSSH's known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): plain names with '*', '?' and '!', hashed names ("|1|salt|hash"),
 * "[host]:port", and "@revoked". "@cert-authority" lines are not used: host certificates are not accepted here.
 */
#ifndef TUNNEL_KNOWN_HOSTS_H
#define TUNNEL_KNOWN_HOSTS_H

#include "base/buf.h"
#include "base/err.h"

struct known_hosts;

/* Lines that cannot be read are skipped and counted. Copies. NULL past TUNNEL_MAX_KNOWN_HOSTS. */
MUST_CHECK struct known_hosts *known_hosts_parse(struct str text, struct err *err);
/* NULL-safe; returns NULL. */
struct known_hosts *known_hosts_free(struct known_hosts *k);
size_t known_hosts_count(const struct known_hosts *k);
size_t known_hosts_bad_lines(const struct known_hosts *k);

enum known_verdict {
    KNOWN_NOTHING, /* no line speaks of the host */
    KNOWN_SAME,    /* one of the host's lines has this key */
    KNOWN_OTHER,   /* the host has lines, with other keys */
    KNOWN_REVOKED, /* a @revoked line of the host has this key */
};

/* 'names' are the host's, each as it would stand in the file. 'key' is the public key's blob (RFC 4253 6.6). */
enum known_verdict known_hosts_check(const struct known_hosts *k, const struct str *names, size_t n, struct str key);
/* The key types ("ssh-ed25519") of the host's lines, each once, at most 'max': what to ask the server for. */
size_t known_hosts_types(const struct known_hosts *k, const struct str *names, size_t n, struct str *ret_types, size_t max);

/* The next word of a line; moves 'rest' behind it and the spaces and tabs after it. Empty at the end. */
struct str known_word(struct str *rest);
/* One key in text, "ssh-ed25519 AAAA… comment": as in the annotation and in *.pub files. 'ret_blob' is appended to. */
MUST_CHECK bool known_key_parse(struct str line, struct str *ret_type, struct buf *ret_blob);

/* Pure: the file with 'host' (as it stands there) pinned to this key: lines of the same host and type go, all others stay as they are.
 * Idempotent. False with a reason when 'key' is no public key or 'host' cannot stand in the file. */
MUST_CHECK bool known_hosts_pin(struct str file, struct str host, struct str key, struct buf *ret, struct err *err);

/* "host" for port 22, otherwise "[host]:port". */
#define KNOWN_NAME_SIZE 300
struct str known_name(struct str host, uint16_t port, char dst[KNOWN_NAME_SIZE]);

#endif
