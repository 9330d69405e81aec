#!/usr/bin/env bash
# Checks the kernels and gradients on this machine's GPU and measures bptt there in every precision. Where python3 has PyTorch with
# CUDA, that is measured too. Everything is written to a file under benches/results (or $RESULTS), with date, adapter, driver and
# commit.
#
#   benches/gpu.sh                       # builds what it needs
#   BINARIES=DIR benches/gpu.sh          # runs DIR/bptt and the test programs in DIR, where there is no cargo:
#                                        #   cargo test --release --no-run builds them; copy them without their hash
#   SECONDS_A_CASE=2 benches/gpu.sh      # measures shorter (default 5)
set -euo pipefail
cd "$(dirname "$0")/.."

checks=(kernels twins gradients recurrent recurrent_gradients check)
device=${DEVICE:-gpu}
if [[ -z ${BINARIES:-} ]]; then
    cargo build --release --locked
    BINARIES=target/release
    check() { cargo test --release --locked --test "$1"; }
else
    check() { "$BINARIES/$1"; }
fi
bptt=$BINARIES/bptt
commit=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}
folder=${RESULTS:-benches/results}
mkdir -p "$folder"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$bptt" bench dispatch --device "$device" --seconds 1 --json "$scratch/dispatch.json" >"$scratch/dispatch.txt"
field() { grep -m1 "\"$1\":" "$scratch/dispatch.json" | sed 's/.*: "\(.*\)".*/\1/'; }
adapter=$(field device) driver=$(field driver)
name=$(date -u +%Y-%m-%d)-$(tr -cs 'A-Za-z0-9' - <<<"$adapter" | sed 's/-*$//')
file=$folder/$name.md
{
    echo "# $adapter"
    echo
    echo "$(date -u +%Y-%m-%d), driver $driver, commit $commit, $(uname -sm)."
} >"$file"
section() { printf '\n## %s\n\n```\n' "$1" >>"$file"; }

section "Checks"
failed=0
for test in "${checks[@]}"; do
    if ! check "$test" >"$scratch/$test.txt" 2>&1; then
        failed=1
        tail -40 "$scratch/$test.txt"
    fi
    echo "$test: $(grep 'test result' "$scratch/$test.txt" || echo 'did not end')" | tee -a "$file"
done
"$bptt" check --full --device "$device" --json "$folder/$name-check.json" >"$scratch/bptt-check.txt" || failed=1
tee -a "$file" <"$scratch/bptt-check.txt"
printf '```\n' >>"$file"

for part in dispatch train kernels; do
    section "bptt bench $part"
    "$bptt" bench "$part" --device "$device" --precision f32,f16,bf16 --seconds "${SECONDS_A_CASE:-5}" \
        --json "$folder/$name-$part.json" |
        tee -a "$file"
    printf '```\n' >>"$file"
done

if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    for precision in f32 f16 bf16; do
        section "Beside PyTorch $(python3 -c 'import torch; print(torch.__version__)') with CUDA, $precision"
        python3 benches/peers/run.py --cuda --precision "$precision" --bptt "$bptt" --device "$device" --wait 0 \
            --out "$folder/$name-peers.jsonl" | tee -a "$file"
        printf '```\n' >>"$file"
    done
fi
echo "written: $file"
exit $failed
