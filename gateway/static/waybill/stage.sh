#!/bin/sh
# stage.sh: brings a job's data in and out through Waybill's alias URLs; `sh stage.sh help` says how.
# Needs a POSIX shell, curl 7.61 or later, and one of sha256sum, shasum and openssl; `sh stage.sh env` looks.
# Part of Waybill, Apache-2.0. Its page: docs/stage.md.
#
# The braces make it one command: a copy that was cut short is a syntax error, and never half a script that exits 0.
{
set -euf
LC_ALL=C
export LC_ALL
VERSION=1

# How it ends. These numbers are stable. A signal ends it with 128 + its number.
USAGE=2 TOOL=3 REFUSED=4 GAVE_UP=5 DIGEST=6 LOCAL=7

: "${STAGE_PATIENCE_S:=3600}" "${STAGE_WAIT_S:=3600}" "${STAGE_MAX_PAUSE_S:=60}" "${STAGE_CONNECT_S:=30}"
: "${STAGE_STALL_S:=120}" "${STAGE_STALL_BYTES:=1024}" "${STAGE_REQUIRE_DIGEST:=0}" "${STAGE_VERBOSE:=1}"
: "${STAGE_CURL:=curl}" "${STAGE_CURL_OPTIONS:=}"

# An upload of this size is worth a question first: an earlier run may have sent most of it.
LARGE_BYTES=16777216
# So many answers in a row that are not Waybill's (a proxy's 404, a redirect, a certificate) are no passing fault.
MAX_FOREIGN=5
CR=$(printf '\r')

help() {
    cat <<'END'
stage.sh: brings a job's data in and out through Waybill's alias URLs.

  stage.sh in URL FILE     download; FILE appears whole and verified, or not at all ("-": standard output)
  stage.sh in URL/ DIR     download all that lies below a prefix alias (its URL ends in a slash) into a new folder
  stage.sh out FILE URL    upload; with a prefix alias's URL/ the file keeps its name
  stage.sh out DIR URL/    upload a folder below a prefix alias
  stage.sh env             what it needs and what is here
  stage.sh help, version

Run again after a break it goes on where the last run stopped. Exit status:
  0 done    2 wrong usage    3 a tool is missing    4 refused for good    5 gave up: try again later
  6 the bytes do not have their digest    7 trouble with local files (not readable, disk full)

Settings, from the environment:
  STAGE_PATIENCE_S=3600     give up after so many seconds without progress
  STAGE_WAIT_S=3600         how long to wait for data that is not there yet
  STAGE_MAX_PAUSE_S=60      the longest pause between two attempts, unless the gateway asks for more
  STAGE_STALL_S=120         a transfer of fewer than STAGE_STALL_BYTES=1024 a second for so long is broken off
  STAGE_CONNECT_S=30        how long connecting may take
  STAGE_REQUIRE_DIGEST=0    1: end with 6 where the gateway does not know a file's SHA-256
  STAGE_VERBOSE=1           0: errors only; 2: every request
  STAGE_CURL=curl           the curl to run, and STAGE_CURL_OPTIONS= more options for it
  TMPDIR=/tmp               for small notes, for "-", and for the archive of a folder on its way out
END
}

# --- Telling -----------------------------------------------------------------------------------------------------

say() { # LEVEL WORDS...
    if [ "$STAGE_VERBOSE" -ge "$1" ]; then
        shift
        printf 'stage.sh: %s\n' "$*" >&2 || : # nobody may be listening any more
    fi
}

fail() { # STATUS WORDS...
    failed_with=$1
    shift
    printf 'stage.sh: %s\n' "$*" >&2 || :
    exit "$failed_with"
}

masked() { # URL: the same without its token, which is as good as a password
    case $1 in
        */a/*/*) rest=${1#*/a/} && printf '%s/a/.../%s' "${1%%/a/*}" "${rest#*/}" ;;
        */a/*) printf '%s/a/...' "${1%%/a/*}" ;;
        *) printf '%s' "$1" ;;
    esac
}

# --- Processes and their end -------------------------------------------------------------------------------------

child='' scratch='' held='' own_part=''

run() { # COMMAND...: in the background, because a shell hears a signal only when what it waits for is not in front
    "$@" &
    child=$!
    run_ended=0
    wait "$child" || run_ended=$?
    child=''
    return "$run_ended"
}

# shellcheck disable=SC2317  # a trap calls it
clean_up() {
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null || :
        wait "$child" 2>/dev/null || :
    fi
    [ -z "$own_part" ] || rm -rf "$own_part" "$own_part.about" "$own_part.unpacked" || :
    [ -z "$held" ] || [ -s "$part" ] || rm -f "$part" "$part.about" || :
    [ -z "$held" ] || rm -f "$held" || :
    [ -z "$scratch" ] || rm -rf "$scratch" || :
}

# shellcheck disable=SC2317  # traps call it
stop() { # STATUS: after a signal. Some shells would forget the status if the cleaning were left to the trap of EXIT.
    trap '' HUP INT TERM
    trap - EXIT
    clean_up
    exit "$1"
}

make_scratch() {
    number=0
    # mkdir is what tells us that nobody else has the name, and only we may look into it.
    until mkdir -m 700 "${TMPDIR:-/tmp}/stage.sh.$$.$number" 2>/dev/null; do
        number=$((number + 1))
        [ "$number" -lt 20 ] || fail "$LOCAL" "cannot make a temporary folder in ${TMPDIR:-/tmp}; set TMPDIR"
    done
    scratch=${TMPDIR:-/tmp}/stage.sh.$$.$number
}

# --- Files -------------------------------------------------------------------------------------------------------

plain() { # PATH: the same, so that no program takes it for an option, a host or standard input
    case $1 in
        /*) printf '%s' "$1" ;;
        *) printf './%s' "$1" ;;
    esac
}

size_of() { # PATH: its size in bytes, 0 where there is nothing. (Busybox's wc would read all of it.)
    if [ -f "$1" ]; then
        # shellcheck disable=SC2012  # of what ls says only the number before the date is read
        ls -Lldn "$1" | { read -r _ _ _ _ bytes _ && printf '%s' "$bytes"; }
    else
        printf 0
    fi
}

find_digest_program() {
    if command -v sha256sum >/dev/null; then
        digest_program='sha256sum'
    elif command -v shasum >/dev/null; then
        digest_program='shasum -a 256'
    elif command -v openssl >/dev/null; then
        digest_program='openssl dgst -sha256 -r'
    else
        return 1
    fi
}

take_digest() { # PATH: sets digest
    # shellcheck disable=SC2086  # it is a command and its options
    run $digest_program "$1" >"$scratch/digest" 2>"$scratch/errors" ||
        fail "$LOCAL" "cannot read $1: $(last_words)"
    read -r digest _ <"$scratch/digest"
    digest=${digest#\\} # how GNU marks a name with a backslash in it
}

last_words() { tail -n 1 "$scratch/errors"; }

is_number() {
    case $1 in
        '' | *[!0-9]* | ????????????????*) return 1 ;;
    esac
}

escaped() { # NAME: each byte as %xx
    printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'
}

# --- Time --------------------------------------------------------------------------------------------------------

started() { # A step begins, or there was progress: the clocks of patience start again.
    # Waited is what pauses and requests took that moved nothing. A transfer may take its time, however often it breaks.
    waited_s=0 pause_s=1 foreign=0
    pending_since=$(date +%s)
}

again() { # REASON...: pauses before the next attempt, or gives up. Obeys Retry-After; else twice as long each time.
    if [ "$code" = data_pending ]; then
        waited_s=0
        left=$((pending_since + STAGE_WAIT_S - $(date +%s)))
    else
        left=$((STAGE_PATIENCE_S - waited_s))
    fi
    [ "$left" -gt 0 ] || fail "$GAVE_UP" "gave up: $*"
    if is_number "$retry_after" && [ "$retry_after" -gt 0 ]; then
        seconds=$retry_after # the gateway spreads its clients itself
    else
        random=$(od -An -N2 -tu2 /dev/urandom 2>/dev/null | tr -d ' ') || random=$$
        seconds=$((pause_s + ${random:-$$} % (pause_s + 1) / 2))
        pause_s=$((pause_s * 2))
        [ "$pause_s" -le "$STAGE_MAX_PAUSE_S" ] || pause_s=$STAGE_MAX_PAUSE_S
    fi
    [ "$seconds" -le "$left" ] || seconds=$left
    waited_s=$((waited_s + seconds))
    say 1 "$*; again in $seconds s"
    run sleep "$seconds" 9>&-
}

# --- Requests ----------------------------------------------------------------------------------------------------

forget_answer() {
    etag='' length='' sha256='' retry_after='' code='' retryable='' offset='' complete='' request_id=''
}

read_answer() { # the headers of the last answer in the file
    forget_answer
    while IFS= read -r line; do
        line=${line%"$CR"}
        value=${line#*:}
        value=${value# }
        case $line in
            HTTP/*) forget_answer ;;
            [Ee][Tt]ag:*) etag=$value ;;
            [Cc]ontent-[Ll]ength:*) length=$value ;;
            [Rr]etry-[Aa]fter:*) retry_after=$value ;;
            [Uu]pload-[Oo]ffset:*) offset=$value ;;
            [Uu]pload-[Cc]omplete:*) complete=$value ;;
            [Ww]aybill-[Ss]ha256:*) sha256=$value ;;
            [Ww]aybill-[Ee]rror-[Cc]ode:*) code=$value ;;
            [Ww]aybill-[Rr]etryable:*) retryable=$value ;;
            [Xx]-[Rr]equest-[Ii]d:*) request_id=$value ;;
        esac
    done <"$scratch/headers"
}

ask() { # CURL'S ARGUMENTS... URL: sets ended (curl's exit), status (000: no answer came) and what the headers say
    : >"$scratch/headers"
    ended=0 asked_at=$(date +%s)
    # shellcheck disable=SC2086  # the options are to be split
    run "$STAGE_CURL" -q -sS -g --suppress-connect-headers --connect-timeout "$STAGE_CONNECT_S" \
        -D "$scratch/headers" -w '%{http_code} %{size_upload} %{size_download}\n' $STAGE_CURL_OPTIONS "$@" \
        >"$scratch/status" 2>"$scratch/errors" || ended=$?
    status=000 sent=0 got=0
    read -r status sent got <"$scratch/status" || status=000 # curl did not come so far as to say anything
    [ "$sent:$got" != 0:0 ] || waited_s=$((waited_s + $(date +%s) - asked_at))
    read_answer
    say 2 "curl ended with $ended, HTTP status $status${code:+ $code}${offset:+, Upload-Offset $offset $complete}"
}

ask_head() { # URL
    say 2 "HEAD $(masked "$1")"
    ask -I -m 120 -o /dev/null "$1"
}

told() { # what the answer was, in words
    if [ "$status" -ge 400 ]; then
        printf 'HTTP %s%s' "$status" "${code:+ $code}"
    elif [ "$ended" -ne 0 ]; then
        printf '%s' "$(last_words)"
    else
        printf 'HTTP %s, which is not what Waybill answers' "$status"
    fi
}

settle() { # URL: after an ask that failed: ends where only a person can help, else pauses for another attempt
    case $ended in
        2 | 4 | 48) fail "$TOOL" "this curl lacks what is needed (it has to be 7.61 or later): $(last_words)" ;;
        1 | 3) fail "$USAGE" "not a URL that curl can use: $(masked "$1")" ;;
        23 | 26 | 27) fail "$LOCAL" "local trouble: $(last_words)" ;;
    esac
    if [ "$status" -ge 400 ] && [ -n "$code" ]; then
        [ "$retryable" = true ] || refuse "$1"
        foreign=0
        again "$(told)"
        return
    fi
    case $ended:$status in
        0:408 | 0:425 | 0:429 | 0:5?? | 22:408 | 22:425 | 22:429 | 22:5??) foreign=0 ;;
        0:* | 22:* | 47:* | 58:* | 59:* | 60:* | 66:* | 77:* | 83:* | 90:* | 91:*)
            foreign=$((foreign + 1))
            [ "$foreign" -lt "$MAX_FOREIGN" ] || refuse "$1"
            ;;
        *) foreign=0 ;;
    esac
    again "$(told)"
}

refuse() { # URL
    words="refused: $(told)" wanted_code=$code wanted_id=$request_id
    if [ -n "$code" ]; then
        # A refused HEAD has no body that could tell more; of one byte of a GET nobody is the poorer.
        if [ ! -s "$scratch/answer" ]; then
            ask -r 0-0 -m 30 -o "$scratch/answer" "$1"
        fi
        if [ "$code" = "$wanted_code" ]; then
            words="$words$(problem_says detail)$(problem_says hint)"
        fi
    fi
    fail "$REFUSED" "$words. URL $(masked "$1")${wanted_id:+, request $wanted_id}"
}

problem_says() { # FIELD: that field of the problem that was answered, as a sentence more
    found=$(sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p" "$scratch/answer" 2>/dev/null) || found=''
    printf '%s' "${found:+. ${found%.}}"
}

# --- Download ----------------------------------------------------------------------------------------------------

take_part() { # FILE: sets part, and holds it: two runs never write to one part
    part=$1.part
    (: >>"$part.lock") 2>/dev/null || fail "$LOCAL" "cannot write in the folder of $1"
    if ! command -v flock >/dev/null; then
        rm -f "$part.lock"
        take_own_part "$1"
        return
    fi
    # flock's lock ends with the last process that holds it: a curl that outlived a killed run is waited for, too.
    seen=0
    while :; do
        exec 9>>"$part.lock"
        if flock -n 9 9>&9 2>"$scratch/errors"; then # ksh passes on only what is named
            mark="$$ $(date) $(od -An -N8 -tx1 /dev/urandom)"
            printf '%s\n' "$mark" >&9
            if [ "$(tail -n 1 "$part.lock" 2>/dev/null)" = "$mark" ]; then
                held=$part.lock
                return
            fi
            exec 9>&- # Who held it before us has removed this file, and another may hold the next.
            continue
        fi
        exec 9>&-
        if [ -s "$scratch/errors" ]; then
            say 1 "no locks here ($(last_words)): this download cannot be continued by another run"
            rm -f "$part.lock"
            take_own_part "$1"
            return
        fi
        bytes=$(size_of "$part")
        [ "$bytes" = "$seen" ] || started
        seen=$bytes
        forget_answer
        again "another run is downloading to $1"
    done
}

take_own_part() { # FILE: a part that no other run will find, and that goes when we go
    number=0
    until (set -C && : >"$1.part.$$.$number") 2>/dev/null; do
        number=$((number + 1))
        [ "$number" -lt 20 ] || fail "$LOCAL" "cannot write in the folder of $1"
    done
    part=$1.part.$$.$number
    own_part=$part
}

drop_part() { rm -f "$part" "$part.about" || fail "$LOCAL" "cannot remove $part"; }

is_there() { # FILE: whether it is already what the last HEAD told of
    [ -n "$sha256" ] && [ -f "$1" ] && [ "$(size_of "$1")" = "$length" ] || return 1
    take_digest "$1"
    [ "$digest" = "$sha256" ]
}

fetch() { # URL FILE: leaves one version, whole and verified, in $part; or returns 1 where FILE is that already
    started
    repeated='' looked='' most=0
    while :; do
        ask_head "$1"
        if [ "$ended:$status" != 0:200 ] || ! is_number "$length"; then
            : >"$scratch/answer"
            settle "$1"
            continue
        fi
        if [ -z "$looked" ] && is_there "$2"; then
            return 1
        fi
        looked=yes
        # What is wanted is this version. A weak entity tag names none, so that nothing can be continued.
        pin=$etag size=$length wanted=$sha256
        case $pin in '"'*) ;; *) pin='' ;; esac
        about="$pin $size $wanted"
        if [ -z "$pin" ] || [ "$(cat "$part.about" 2>/dev/null)" != "$about" ]; then
            [ ! -s "$part" ] || say 1 "the part that is here cannot be continued: beginning anew"
            drop_part
            [ -z "$pin" ] || most=0
            (printf '%s\n' "$about" >"$part.about") 2>/dev/null || fail "$LOCAL" "cannot write $part.about"
        fi
        have=$(size_of "$part")
        if [ "$have" -gt "$size" ]; then
            rm -f "$part"
            have=0
        fi
        (: >>"$part") 2>/dev/null || fail "$LOCAL" "cannot write $part"
        # Of nothing, too, a GET has the say: to HEAD a write alias answers without content.
        if [ "$have" -lt "$size" ] || [ "$size" -eq 0 ]; then
            fetch_rest "$1" || continue
        fi
        [ "$(size_of "$part")" = "$size" ] || fail "$LOCAL" "$part does not have the size that it had a moment ago"
        if [ -z "$wanted" ]; then
            [ "$STAGE_REQUIRE_DIGEST" = 0 ] || fail "$DIGEST" "the gateway does not know the SHA-256 of $(masked "$1")"
            say 1 "the gateway does not know the SHA-256: only size and version were checked"
            digest=unknown
            return 0
        fi
        take_digest "$part"
        [ "$digest" != "$wanted" ] || return 0
        drop_part
        [ -z "$repeated" ] || fail "$DIGEST" "the bytes that came do not have the SHA-256 $wanted, twice: $digest"
        repeated=yes
        say 1 "the bytes that came do not have their SHA-256: beginning anew"
    done
}

fetch_rest() { # URL: one GET of what is missing; true when the part has its size
    fetched_url=$1
    [ "$have" -eq 0 ] || say 1 "continuing after $have of $size bytes"
    say 2 "GET $(masked "$1") from byte $have"
    set --
    [ "$have" -eq 0 ] || set -- -C "$have"
    [ -z "$pin" ] || set -- "$@" -H "If-Match: $pin"
    # Without a redirect allowed, -L takes none, and keeps its page from becoming the file.
    ask -f -L --max-redirs 0 -Y "$STAGE_STALL_BYTES" -y "$STAGE_STALL_S" "$@" -o "$part" "$fetched_url"
    came=$(size_of "$part")
    case $status in
        200 | 206)
            if [ -z "$pin" ] && is_number "$length"; then
                size=$length wanted=$sha256
            elif [ "$etag" != "$pin" ]; then
                drop_part # curl wrote another version, or no answer of Waybill's
            fi
            ;;
        412 | 416)
            drop_part
            again "the data was replaced while it was downloaded"
            return 1
            ;;
        *) [ "$came" = "$have" ] || drop_part ;;
    esac
    came=$(size_of "$part")
    if [ "$came" -gt "$most" ]; then
        most=$came
        started
    fi
    case $ended:$status in 0:200 | 0:206) [ ! -f "$part" ] || [ "$came" != "$size" ] || return 0 ;; esac
    if [ "$ended:$status" = 33:200 ]; then
        drop_part # whoever answers knows no ranges
    fi
    : >"$scratch/answer"
    settle "$fetched_url"
    return 1
}

stage_in() { # URL FILE
    case $1 in
        */)
            stage_folder_in "$1" "$2"
            return
            ;;
    esac
    if [ "$2" = - ]; then
        part=$scratch/part
        fetch "$1" "$scratch/none"
        run cat "$part" || fail "$LOCAL" "cannot write to standard output"
        say 1 "brought $size bytes, sha256 $digest"
        return
    fi
    file=$(plain "$2")
    check_target "$file"
    [ ! -e "$file" ] || [ -f "$file" ] || fail "$LOCAL" "$2 is not a file"
    started
    take_part "$file"
    if fetch "$1" "$file"; then
        mv -f "$part" "$file" || fail "$LOCAL" "cannot rename $part"
        say 1 "brought $2: $size bytes, sha256 $digest"
    else
        say 1 "$2 is here already: $length bytes, sha256 $digest"
    fi
    drop_part
}

check_target() { # PATH
    case $1 in */) fail "$USAGE" "$1 names a folder, but the URL does not end in a slash" ;; esac
    parent=${1%/*}
    [ -d "${parent:-/}" ] || fail "$LOCAL" "there is no folder $parent"
}

check_folder() { # PATH
    [ ! -e "$1" ] || [ -d "$1" ] || fail "$LOCAL" "$1 is a file"
    [ ! -e "$1" ] || [ -z "$(ls -A "$1")" ] ||
        fail "$LOCAL" "$1 is not empty, and nothing is mixed into what is there: remove it first"
}

stage_folder_in() { # URL/ DIR
    command -v tar >/dev/null || fail "$TOOL" "tar is missing"
    folder=$(plain "$2")
    while [ "$folder" != "${folder%/}" ]; do folder=${folder%/}; done
    check_target "$folder"
    check_folder "$folder"
    started
    take_part "$folder"
    check_folder "$folder" # another run may have been at it meanwhile
    fetch "${1%/}.tar" "$scratch/none"
    rm -rf "$part.unpacked"
    mkdir "$part.unpacked" || fail "$LOCAL" "cannot make a folder beside $2"
    run tar -xof "$part" -C "$part.unpacked" 2>"$scratch/errors" || {
        rm -rf "$part.unpacked"
        fail "$LOCAL" "cannot unpack: $(last_words)"
    }
    [ ! -d "$folder" ] || rmdir "$folder" || fail "$LOCAL" "cannot replace $2"
    mv "$part.unpacked" "$folder" || fail "$LOCAL" "cannot rename $part.unpacked"
    drop_part
    say 1 "brought $2: an archive of $size bytes, sha256 $digest"
}

# --- Upload ------------------------------------------------------------------------------------------------------

stage_out() { # FILE URL
    file=$(plain "$1") target=$2
    if [ -d "$file" ]; then
        case $2 in */) ;; *) fail "$USAGE" "$1 is a folder, so the URL has to be a prefix alias's, which ends in a slash" ;; esac
        pack "$file"
        file=$scratch/folder.tar target=${2%/}.tar
    elif [ ! -f "$file" ] || [ ! -r "$file" ]; then
        fail "$LOCAL" "$1 is no file that can be read"
    else
        case $2 in */) target=$2$(escaped "${1##*/}") ;; esac
    fi
    send "$file" "$target"
    say 1 "stored $1: $size bytes, sha256 $digest"
}

pack() { # DIR: all files below it, links followed, because objects are bytes and have no links
    command -v tar >/dev/null || fail "$TOOL" "tar is missing"
    set -- -chf "$scratch/folder.tar" -C "$1" .
    case $(tar --version 2>/dev/null) in *GNU*) set -- --hard-dereference "$@" ;; esac
    run tar "$@" 2>"$scratch/errors" || fail "$LOCAL" "cannot pack: $(last_words)"
}

send() { # FILE URL: returns once the gateway has acknowledged exactly this content
    size=$(size_of "$1")
    take_digest "$1"
    started
    safe=0 most=0 repeated='' look=''
    [ "$size" -lt "$LARGE_BYTES" ] || look=yes
    while :; do
        if [ -n "$look" ]; then
            look_what_is_safe "$1" "$2" || continue
            [ -z "$acknowledged" ] || return 0
        fi
        look=yes
        [ "$(size_of "$1")" = "$size" ] || fail "$LOCAL" "$1 changes while it is sent"
        [ "$safe" -eq 0 ] || say 1 "continuing after $safe of $size bytes"
        say 2 "PUT $(masked "$2") from byte $safe"
        send_rest "$1" "$2"
        # Not the status is the proof, and not curl's exit, but that the gateway names our digest.
        case $status in 200 | 201) [ "$sha256" != "$digest" ] || return 0 ;; esac
        case $code in
            wrong_offset) again "the gateway has another part of the file than was thought" ;;
            digest_mismatch) repeat_once "$1" ;;
            *) settle "$2" ;;
        esac
    done
}

send_rest() { # FILE URL
    : >"$scratch/answer"
    set -- -T "$1" -H "Waybill-Sha256: $digest" -o "$scratch/answer" "$2"
    [ "$safe" -eq 0 ] || set -- -C "$safe" "$@"
    ask -Y "$STAGE_STALL_BYTES" -y "$STAGE_STALL_S" "$@"
}

look_what_is_safe() { # FILE URL: sets safe and acknowledged; false when it has to be asked again
    acknowledged=''
    ask_head "$2"
    if [ "$ended:$status" != 0:200 ] && { [ -z "$code" ] || [ "$retryable" = true ]; }; then
        : >"$scratch/answer"
        settle "$2"
        return 1
    fi
    # Refused, no write alias or no gateway: what a PUT is answered tells more, and it alone decides.
    is_number "$offset" || offset=0
    if [ "$offset" -gt "$most" ]; then
        most=$offset
        started
    fi
    safe=0
    if [ "$complete" = '?1' ]; then
        # Of other content, or where the digest is not told, only a PUT can say what is to be said.
        [ "$sha256" != "$digest" ] || acknowledged=yes
    elif [ "$offset" -lt "$size" ]; then
        safe=$offset
    elif [ "$offset" -eq "$size" ] && [ "$size" -gt 0 ]; then
        again "the gateway has all bytes and verifies them"
        return 1
    fi
}

repeat_once() { # FILE: the gateway holds other bytes than ours: begins anew, once
    expected=$digest
    take_digest "$1"
    [ "$digest" = "$expected" ] || fail "$LOCAL" "$1 changes while it is sent"
    [ -z "$repeated" ] ||
        fail "$DIGEST" "what the gateway got does not have the SHA-256 $digest, twice$(problem_says detail)"
    repeated=yes safe=0 look=''
    say 1 "what the gateway got does not have the SHA-256 $digest: beginning anew"
}

# --- The rest ----------------------------------------------------------------------------------------------------

show_env() {
    lacking=0
    words=$("$STAGE_CURL" -q --version 2>/dev/null) || words=''
    words=${words%%[!a-zA-Z0-9. ]*}
    number=${words#curl } && number=${number%% *}
    major=${number%%.*} && minor=${number#*.} && minor=${minor%%.*}
    if is_number "$major" && is_number "$minor" && [ $((major * 1000 + minor)) -ge 7061 ]; then
        line curl "$number"
    else
        line curl "${number:-missing}: 7.61 or later is needed" 1
    fi
    if find_digest_program; then line digest "$digest_program"; else
        line digest 'missing: sha256sum, shasum or openssl is needed' 1
    fi
    if command -v tar >/dev/null; then line tar "$(command -v tar)"; else line tar 'missing: folders need it' 1; fi
    for name in cat date ls mkdir mv od rm sed sleep tail tr; do
        command -v "$name" >/dev/null || line "$name" 'missing' 1
    done
    if command -v flock >/dev/null; then line flock 'there: a run goes on where a killed one stopped'; else
        line flock 'missing: a killed download begins anew; only breaks within one run are continued'
    fi
    if (make_scratch && rm -rf "$scratch") 2>/dev/null; then line TMPDIR "${TMPDIR:-/tmp} can be written"; else
        line TMPDIR "${TMPDIR:-/tmp} cannot be written" 1
    fi
    for name in CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR http_proxy https_proxy HTTPS_PROXY ALL_PROXY no_proxy NO_PROXY; do
        eval "value=\${$name:-}"
        [ -z "$value" ] || line "$name" 'is set, and curl heeds it'
    done
    [ "$lacking" -eq 0 ] || exit "$TOOL"
}

line() { # NAME WORDS [1: it is lacking]
    printf '%-8s %s\n' "$1" "$2"
    lacking=$((lacking + ${3:-0}))
}

check_settings() {
    for name in PATIENCE_S WAIT_S MAX_PAUSE_S STALL_S STALL_BYTES CONNECT_S VERBOSE REQUIRE_DIGEST; do
        eval "value=\$STAGE_$name"
        is_number "$value" || fail "$USAGE" "STAGE_$name is to be a whole number, not \"$value\""
    done
    [ "$STAGE_MAX_PAUSE_S" -gt 0 ] || fail "$USAGE" "STAGE_MAX_PAUSE_S is to be at least 1"
}

check_url() {
    case $1 in http://*/* | https://*/*) ;; *) fail "$USAGE" "not an http URL: $(masked "$1")" ;; esac
}

check_tools() {
    command -v "$STAGE_CURL" >/dev/null || fail "$TOOL" "curl is missing; \`stage.sh env\` tells what is needed"
    find_digest_program || fail "$TOOL" 'sha256sum, shasum or openssl is needed'
}

main() {
    check_settings
    case ${1:-}:$# in
        help:1 | -h:1 | --help:1) help ;;
        version:1 | --version:1) printf 'stage.sh %s\n' "$VERSION" ;;
        env:1) show_env ;;
        in:3 | out:3)
            if [ "$1" = in ]; then check_url "$2"; else check_url "$3"; fi
            if [ -z "$2" ] || [ -z "$3" ]; then fail "$USAGE" "a name is empty"; fi
            check_tools
            trap clean_up EXIT
            trap 'stop 129' HUP
            trap 'stop 130' INT
            trap 'stop 143' TERM
            make_scratch
            if [ "$1" = in ]; then stage_in "$2" "$3"; fi
            if [ "$1" = out ]; then stage_out "$2" "$3"; fi
            ;;
        *)
            help >&2
            exit "$USAGE"
            ;;
    esac
}

main "$@"
exit
}
