cd /work/h/learn
/opt/dev/bin/python tools/try_definitions.py "$@" 2>&1 | grep -E "<--|Error|Traceback|ns an" | sed 's/([-0-9., ]*)//' | cut -c1-180
