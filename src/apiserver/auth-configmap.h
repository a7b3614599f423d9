/*
 * extension-apiserver-authentication in kube-system: by what other API servers (aggregated ones, the managers' own doors) know whom
 * this one knows. Several apiservers share it: CAs and names are added to what is there, and only expired certificates leave.
 */
#ifndef APISERVER_AUTH_CONFIGMAP_H
#define APISERVER_AUTH_CONFIGMAP_H

struct apiserver;

/* Writes the ConfigMap when it is not as it should be. At the start, and whenever files are read again. */
void auth_configmap_sync(struct apiserver *s);

#endif
