# Jobs: to completion, by index, with failures, deadlines, suspended, and what is left of them.
# limit: 120 s
. "$(dirname "$0")/../lib/scenario.sh"
. "$(dirname "$0")/../lib/job.sh"
need_root
need_program kubelet
up
kubectl_1_35
cd "$TMP" || exit 1
no_finalizers() { [ -z "$(kubectl get pods -o 'jsonpath={.items[*].metadata.finalizers}')" ]; }

step "as many as are to be completed"
check job many 'completions: 3
  parallelism: 2' 'sleep 0.2'
check kubectl wait --for=condition=complete job/many --timeout=40s
check_out 3 status_of many succeeded
check_out '3/3' kubectl get job many
eventually 5 no_finalizers
check_out Completed kubectl get events --field-selector involvedObject.name=many

step "every index once"
check job each 'completions: 3
  parallelism: 3
  completionMode: Indexed' 'echo index $JOB_COMPLETION_INDEX'
check kubectl wait --for=condition=complete job/each --timeout=40s
check_out '0-2' status_of each completedIndexes
check_out 'index 2' sh -c "'$KUBECTL' logs -l batch.kubernetes.io/job-completion-index=2"

step "failures up to the limit"
check job bad 'backoffLimit: 0' 'exit 3'
check kubectl wait --for=condition=failed job/bad --timeout=40s
check_out BackoffLimitExceeded status_of bad 'conditions[?(@.type=="Failed")].reason'
check_out 1 status_of bad failed
check job stubborn 'backoffLimit: 2' 'exit 3' OnFailure
check kubectl wait --for=condition=failed job/stubborn --timeout=60s

step "a deadline"
check job slow 'activeDeadlineSeconds: 2' 'sleep 100'
check kubectl wait --for=condition=failed job/slow --timeout=40s
check_out DeadlineExceeded status_of slow 'conditions[?(@.type=="Failed")].reason'
gone() { [ -z "$(kubectl get pods -l job-name="$1" --field-selector status.phase=Running -o name)" ]; }
eventually 10 gone slow

step "suspended and resumed"
check job later 'suspend: true' 'sleep 0.1'
eventually 5 out_has True kubectl get job later -o 'jsonpath={.status.conditions[?(@.type=="Suspended")].status}'
check_out 'No resources' kubectl get pods -l job-name=later
check kubectl patch job later -p '{"spec":{"suspend":false}}'
check kubectl wait --for=condition=complete job/later --timeout=40s

step "by a schedule"
check kubectl create cronjob tick --image=coracle.local/busybox:1 --schedule='@every 2s' -- true
ticked() { kubectl get cronjob tick -o 'jsonpath={.status.lastSuccessfulTime}' | grep .; }
eventually 20 ticked
check_out SuccessfulCreate kubectl get events --field-selector involvedObject.name=tick
check kubectl delete cronjob tick

step "what is left"
check job brief 'ttlSecondsAfterFinished: 1' 'true'
missing() { ! kubectl get job "$1" >/dev/null 2>&1; }
eventually 30 missing brief
check kubectl delete job --all
none() { [ -z "$(kubectl get pods -o name)" ]; }
eventually 20 none
down
