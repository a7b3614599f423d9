/*
 * Where the apiserver is and who we are: read from a kubeconfig file (v1 Config, "Organizing
 * Cluster Access Using kubeconfig Files"), or from the service account that a pod has mounted.
 */
#ifndef CLIENT_KUBECONFIG_H
#define CLIENT_KUBECONFIG_H

#include "base/arena.h"
#include "base/err.h"

struct client_config {
    struct str server;          /* "https://host:port[/prefix]" */
    struct str tls_server_name; /* name to verify instead of the host; absent: the host */
    struct str ca_pem;          /* absent: the system's */
    bool insecure;              /* insecure-skip-tls-verify */
    struct str client_cert_pem, client_key_pem;
    struct str token;      /* bearer token, or absent */
    struct str token_file; /* read again when it changes (bound tokens rotate); absent: none */
    struct str username, password;
    /* Where the PEMs came from, absent when they were embedded: the client reads them again when the
     * files change. */
    struct str ca_file, client_cert_file, client_key_file;
    /* The file that all of this came from, and its context: read again when it changes. Absent: none. */
    struct str kubeconfig, context;
    bool no_credentials;  /* a client that has none, also after the kubeconfig was read again */
    struct str namespace; /* of the context; "default" when the file names none */
};

/* Reads 'path'; 'context' absent takes current-context. File references are read at once (relative
 * to the file's folder). Everything lives in 'a'. exec and auth-provider plugins are refused by
 * name. */
MUST_CHECK bool kubeconfig_read(struct arena *a, const char *path, struct str context,
                                struct client_config *ret, struct err *err);
/* The same from text; 'dir' is where relative file names start. */
MUST_CHECK bool kubeconfig_parse(struct arena *a, struct str yaml, const char *dir,
                                 struct str context, struct client_config *ret, struct err *err);
/* From KUBERNETES_SERVICE_HOST and _PORT and /var/run/secrets/kubernetes.io/serviceaccount. */
MUST_CHECK bool kubeconfig_in_cluster(struct arena *a, struct client_config *ret, struct err *err);
/* Reads the files that 'c' names once more, or the kubeconfig that it came from. Address, names to verify and
 * what the caller changed stay. On failure '*c' is as it was. */
MUST_CHECK bool kubeconfig_reread(struct arena *a, struct client_config *c, struct err *err);
/* Writes one cluster, user and context named 'name' as a kubeconfig. Certificates and keys are embedded; where
 * only the name of a file is given, that. A file that says the same already is left alone. */
MUST_CHECK bool kubeconfig_write(const char *path, struct str name, const struct client_config *c,
                                 struct err *err);

#endif
