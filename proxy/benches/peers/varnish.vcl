# Varnish before one API, for scripts/bench http: the built-in rules as they are. Words in double braces are filled in.
# The command line is in servers.mjs.
vcl 4.1;

backend api {
    .host = "{{ORIGIN_HOST}}";
    .port = "{{ORIGIN_PORT}}";
}
