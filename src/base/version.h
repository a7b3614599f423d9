/* Which Kubernetes the programs are, for --version, /version, nodeInfo and user agents. CORACLE_VERSION comes from meson. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define KUBERNETES_MAJOR "1"
#define KUBERNETES_MINOR "36"
#define KUBERNETES_VERSION "v1.36.2"

#endif
