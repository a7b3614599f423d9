/* Every bound of this room, with its reason. */
#ifndef KUBELET_LIMITS_H
#define KUBELET_LIMITS_H

/* One request to the runtime: a container's environment and mounts; execve itself takes 2 MB of arguments. */
#define KUBELET_MAX_CRI_REQUEST (16u << 20)
/* One decoded answer of the runtime: a list of 110 pods with their labels is about 1 MB. */
#define KUBELET_MAX_CRI_ARENA (64u << 20)
/* One pod as it is held here: the API limits objects to 1.5 MB. */
#define KUBELET_MAX_POD_ARENA (8u << 20)
/* What is computed about a pod in one turn. */
#define KUBELET_MAX_WORK_ARENA (16u << 20)
/* A manifest below --pod-manifest-path. */
#define KUBELET_MAX_MANIFEST (4u << 20)
/* /etc/resolv.conf and its like. */
#define KUBELET_MAX_SMALL_FILE (1u << 20)
/* Termination messages, as the API documents: 4096 bytes of a file, or the last 2048 bytes or 80 lines of the log. */
#define KUBELET_MAX_TERMINATION_MESSAGE 4096
#define KUBELET_MAX_TERMINATION_LOG 2048
/* What a probe or hook wrote, as far as it is told in events. */
#define KUBELET_MAX_HANDLER_OUTPUT 512
/* Restart back-off, doubling (API documentation of restartPolicy: 10 s, 20 s … 300 s, reset after 10 minutes of running). */
#define KUBELET_BACKOFF_MIN_MS 10000
#define KUBELET_BACKOFF_MAX_MS 300000
#define KUBELET_BACKOFF_RESET_MS 600000
/* How often the runtime is asked what runs. */
#define KUBELET_RELIST_MS 1000
/* The same while a container runs that is meant to end (jobs, init containers), for its first seconds. */
#define KUBELET_RELIST_FLUX_MS 100
#define KUBELET_FLUX_S 15
/* How long a runtime may be away (a restart, an update) before the node says that it is not ready; as the original's. */
#define KUBELET_RUNTIME_GRACE_MS 30000
/* How soon a pod's status is written again when somebody else changed it (a node that was NotReady marks its pods so). */
#define KUBELET_STATUS_RECONCILE_MS 500
/* The first tries to reach a runtime that does not answer; doubled every eight. */
#define KUBELET_RUNTIME_RETRY_MS 20
/* The first wait after a sandbox failed (its image is being imported, its network set up), doubled up to a minute. */
#define KUBELET_SANDBOX_RETRY_MS ((uint64_t)100)
/* How often volumes are compared with the objects they show. */
#define KUBELET_VOLUME_RESYNC_MS 60000
/* A container that is stopped gets at least this long, whatever its hook has used up. */
#define KUBELET_MIN_GRACE_S 2
/* Calls to the runtime: as the original's --runtime-request-timeout. Pulls and stops have their own. */
#define KUBELET_CRI_TIMEOUT_MS RUNTIME_REQUEST_TIMEOUT
/* Sandboxes start CNI plugins: twice that, as the original does. */
#define KUBELET_SANDBOX_TIMEOUT_MS 240000
/* Requests to the port that the core has not answered yet: each may hold a review at the apiserver or a call of the runtime, and who
 * asks may still be anybody. Answer: 429. */
#define KUBELET_MAX_REQUESTS 256

/* Followers of logs that wait for more hold a watch each (the kernel's default is 8,192 a user or more), and memory here. Answer: at once,
 * so that they ask again five times a second, as all do where there is no inotify. */
#define KUBELET_MAX_LOG_WATCHES 1000
/* A follower asks again after so long, whatever happened: its client may have left, and the kernel may have been silent. */
#define KUBELET_LOG_WAIT_MS 10000

/* ---- dockerd ---- */
/* The versions 1.x of the Docker Engine API that are spoken: what is asked for exists from the first on, and was tried with the last. */
#define DOCKER_API_MINOR_MIN 40u
#define DOCKER_API_MINOR_MAX 41u
/* One answer: a list of 500 containers with their labels is about 2 MB. Answer: the call fails. */
#define KUBELET_MAX_DOCKER_BODY (32u << 20)
/* Nesting of its answers: an inspected container has seven levels. */
#define DOCKER_JSON_DEPTH 32
/* Each request that waits (a stop, a pull, an exec) holds a connection. Further ones queue. */
#define DOCKER_MAX_CONNECTIONS 256
/* A pull that tells nothing for so long has failed (as dockershim's --image-pull-progress-deadline, with room for slow disks). */
#define DOCKER_PULL_STALL_MS 120000
/* What one command's exec for a probe may write, of each kind; the rest is dropped. */
#define DOCKER_MAX_EXEC_OUTPUT (1u << 20)
/* Streaming sessions that were promised and not begun. Answer: an error. */
#define DOCKER_MAX_TICKETS 512
#define DOCKER_TICKET_MS 60000
/* The pods' first process when --pod-infra-container-image names none: the image that every cluster of ours is born with. */
#define DOCKER_PAUSE_IMAGE "coracle.local/pause:1"
/* A configuration of CNI, and what a plugin may answer. */
#define CNI_MAX_CONFIG (256u << 10)
#define CNI_MAX_OUTPUT (1u << 20)
#define CNI_MAX_PLUGINS 16
/* How long one plugin may take; it is killed then. */
#define CNI_PLUGIN_MS 60000

/* Files of a local volume whose group is set to the pod's fsGroup, which holds up other pods meanwhile. Answer: the pod does not
 * start, and is told of fsGroupChangePolicy. */
#define KUBELET_FS_GROUP_FILES 100000

#endif
