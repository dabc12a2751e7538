#!/bin/sh
# run.sh [FILE|FOLDER|OPTION]...: specs by busted, each file in a process of its own, several at a time. Files wait more
# than they compute: one more than there are processors (SPEC_JOBS). Options are busted's.
#
# Prints a line for each file that has passed, all that a file that failed has to say, the reasons of pending specs, and
# at last the sum of busted's last lines, in their form.
set -u

jobs=${SPEC_JOBS:-$(($(nproc) + 1))}
scratch=$(mktemp -d /tmp/ipq_spec.XXXXXX) || exit 1
chmod 1777 "$scratch"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# What is a place is a place, and the rest is for busted.
: > "$scratch/places"
: > "$scratch/options"
for word; do
	if [ -e "$word" ]; then echo "$word" >> "$scratch/places"; else echo "$word" >> "$scratch/options"; fi
done
[ -s "$scratch/places" ] || printf '%s\n' spec/kernel spec/vm spec/unit spec/scripts > "$scratch/places"

# The longest files are begun first, as far as their sizes tell.
files() {
	while read -r place; do
		find "$place" -name '*_spec.lua' -o -path "$place" -type f
	done < "$scratch/places" | xargs ls -S | awk '/^spec.kernel/ { print; next } { rest[++n] = $0 }
		END { for (i = 1; i <= n; i++) print rest[i] }'
}

cat > "$scratch/one.sh" <<'END'
file=$1
# A short name: Lua cuts a long path in its messages.
own=$(mktemp -d "$SCRATCH/XXX") && chmod 1777 "$own"
IFS='
'
TMPDIR=$own IPQ_SCRATCH=$own ${BUSTED:-busted} $(cat "$SCRATCH/options") "$file" > "$own.log" 2>&1
status=$?
summary=$(grep -E '^[0-9]+ success' "$own.log" | tail -n 1)
echo "${summary:-0 successes / 0 failures / 1 error / 0 pending : 0 seconds}" >> "$SCRATCH/summaries"
if [ $status -eq 0 ] && [ -n "$summary" ]; then
	printf '  %-36s %s\n' "$file" "$summary"
else
	printf '  %-36s FAILED (status %s)\n%s\n' "$file" "$status" "$(sed 's/^/      /' "$own.log")"
fi
# Two lines below this word is the reason, behind the place.
awk '/^Pending ->/ { n = 3 } n && --n == 0 { sub(/^[^ ]*: /, ""); print }' "$own.log" >> "$SCRATCH/pending"
rm -rf "$own"
END

began=$(date +%s)
: > "$scratch/summaries"
: > "$scratch/pending"
files | SCRATCH=$scratch xargs -P "$jobs" -I FILE sh "$scratch/one.sh" FILE
sort "$scratch/pending" | uniq -c | sed 's/^ *\([0-9]*\) /  \1 pending: /'
awk -v seconds=$(($(date +%s) - began)) '{ good += $1; bad += $4; errors += $7; pending += $10 }
	END { printf "%d successes / %d failures / %d errors / %d pending : %d seconds\n", good, bad, errors, pending, seconds
	exit !(good > 0 && bad + errors == 0) }' "$scratch/summaries"
