# Jobs with policies: failures that end them or do not count, limits of each index, successes that are enough.
# limit: 120 s
. "$(dirname "$0")/../lib/scenario.sh"
. "$(dirname "$0")/../lib/job.sh"
need_root
need_program kubelet
up
kubectl_1_35
cd "$TMP" || exit 1

step "failures that end a Job, or do not count"
check job wrong 'backoffLimit: 6
  podFailurePolicy:
    rules:
    - {action: FailJob, onExitCodes: {containerName: c, operator: In, values: [42]}}' 'exit 42'
check kubectl wait --for=condition=failed job/wrong --timeout=40s
check_out PodFailurePolicy status_of wrong 'conditions[?(@.type=="Failed")].reason'
check_out 'exit code 42 matching FailJob rule at index 0' status_of wrong 'conditions[?(@.type=="Failed")].message'
check_out 1 status_of wrong failed
check job moved 'backoffLimit: 0
  podFailurePolicy:
    rules:
    - {action: Ignore, onPodConditions: [{type: DisruptionTarget}]}' 'sleep 100'
runs() { kubectl get pods -l job-name="$1" --field-selector status.phase=Running -o name | grep pod/; }
eventually 20 runs moved
first=$(runs moved)
evict() { printf '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"%s"}}' "$1" |
    kubectl create --raw "/api/v1/namespaces/default/pods/$1/eviction" -f -; }
check evict "${first#pod/}"
another() { [ -n "$(runs moved | grep -v "$first")" ]; }
eventually 30 another
refute sh -c "'$KUBECTL' get job moved -o 'jsonpath={.status.failed}{.status.conditions}' | grep ."

step "limits of each index, and successes that are enough"
check job some 'completions: 3
  parallelism: 3
  completionMode: Indexed
  backoffLimitPerIndex: 0' 'test $JOB_COMPLETION_INDEX != 1'
check kubectl wait --for=condition=failed job/some --timeout=40s
check_out FailedIndexes status_of some 'conditions[?(@.type=="Failed")].reason'
check_out '0,2' status_of some completedIndexes
check_out 1 status_of some failedIndexes
check job leader 'completions: 3
  parallelism: 3
  completionMode: Indexed
  successPolicy: {rules: [{succeededIndexes: "0"}]}' 'test $JOB_COMPLETION_INDEX = 0 || sleep 100'
check kubectl wait --for=condition=complete job/leader --timeout=40s
check_out SuccessPolicy status_of leader 'conditions[?(@.type=="Complete")].reason'
gone() { [ -z "$(runs "$1")" ]; }
eventually 10 gone leader
wanting() { job none 'successPolicy: {rules: [{succeededCount: 1}]}' 'true' || true; }
check_out 'requires indexed completion mode' wanting
check kubectl delete job --all
none() { [ -z "$(kubectl get pods -o name)" ]; }
eventually 20 none
down
