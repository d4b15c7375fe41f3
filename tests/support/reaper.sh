# Ends what a process of the test stack left behind, however it went: its standard input closes when its owner dies.
# usage: reaper.sh FOLDER    lines read: "watch GROUP SIGNAL", "forget GROUP"
folder=$1
watched=

while read -r verb group signal; do
    case $verb in
    watch) watched="$watched $group:$signal" ;;
    forget)
        kept=
        for each in $watched; do
            [ "${each%:*}" = "$group" ] || kept="$kept $each"
        done
        watched=$kept
        ;;
    esac
done

alive() {
    for each in $watched; do
        kill -s 0 -- "-${each%:*}" 2>/dev/null && return 0
    done
    return 1
}

for each in $watched; do
    kill -s CONT -- "-${each%:*}" 2>/dev/null
    kill -s "${each#*:}" -- "-${each%:*}" 2>/dev/null
done
tries=0
while alive && [ "$tries" -lt 100 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
for each in $watched; do
    kill -s KILL -- "-${each%:*}" 2>/dev/null
done
# A server's children may still write for a moment after it.
tries=0
until rm -rf "$folder" 2>/dev/null || [ "$tries" -ge 40 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
