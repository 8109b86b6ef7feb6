#!/usr/bin/env bash
# All measurements that need a GPU, in one run of at most eight minutes on an H100.
#
#   benchmarks/speed/gpu.sh OUT [DATA]
#
# OUT   directory of the results; OUT/summary.md has all tables, OUT/PART.log the output of each part
# DATA  a prepared dataset with texts, for the comparison around the pretrained model; without it, simulated reviews
#
# Each part has a time limit and may fail without ending the others. The package must be importable: install it, or set
# PYTHONPATH=src. PYTHON names the interpreter, BASE the base model, and MODELS the systems of the comparison. SMALL=1 makes
# every part small, for a CPU. A comparison that was cut off keeps its finished systems; `gavamoe compare --resume` goes on.
set -uo pipefail
cd "$(dirname "$0")/../.."

out=${1:?usage: benchmarks/speed/gpu.sh OUT [DATA]}
data=${2:-}
python=${PYTHON:-python3}
base=${BASE:-smollm2-135m}
mkdir -p "$out"
summary=$out/summary.md

if [ "${SMALL:-}" = 1 ]; then
    rounds="--rounds 1"
    sizes="--batch 2 --pairs 2 --drafts 2 --prompt 12 --text 4"
    budget="--set explainer.max_reviews=8 --set explainer.epochs=1 --set explainer.max_tokens=8 --limit 2"
    models=gavamoe,lora
    world="--reviews 400 --users 40 --items 20"
else
    rounds="--rounds 3"
    sizes=""
    budget="--set explainer.max_reviews=4000 --set explainer.epochs=1 --set explainer.batch_size=64 --limit 300"
    models=${MODELS:-gavamoe,lora,gavamoe-one-gate,pepler,xrec}
    world="--reviews 20000"
fi

# part NAME SECONDS COMMAND...: run a command within a time limit, and put the end of its output into the summary.
part() {
    local name=$1 limit=$2 started=$SECONDS code=0
    shift 2
    timeout "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
    {
        echo "## $name"
        echo
        case $code in
        0) echo "$((SECONDS - started)) seconds" ;;
        124) echo "not finished within $limit seconds" ;;
        *) echo "failed with code $code" ;;
        esac
        echo
        tail -n 40 "$out/$name.log"
        echo
    } >>"$summary"
    return 0
}

{
    echo "# GPU measurements, $(date -u +%Y-%m-%d)"
    echo
    "$python" -c "import torch, transformers; print('torch', torch.__version__, 'transformers', transformers.__version__)
print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU')" 2>&1
    echo
} >"$summary"

# shellcheck disable=SC2086
{
    part block 60 "$python" benchmarks/speed/explainer.py --only block $rounds
    part writing-and-training 170 "$python" benchmarks/speed/pretrained.py --base-model "$base" $rounds $sizes
    part training-from-scratch 50 "$python" benchmarks/speed/explainer.py --only training generation $rounds
    if [ -z "$data" ]; then
        part simulate 30 "$python" -m gavamoe simulate --out "$out/world.csv" $world
        part prepare 60 "$python" -m gavamoe prepare "$out/world.csv" --out "$out/data"
        data=$out/data
    fi
    part comparison 200 "$python" -m gavamoe compare "$data" --out "$out/comparison" --models "$models" --seeds 1 \
        --preset pretrained --base-model "$base" --split valid $budget
}
cat "$summary"
