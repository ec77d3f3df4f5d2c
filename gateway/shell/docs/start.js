// No validator: it would tell a server on the internet where this gateway is. Tap requests must be signed,
// so the form for trying them cannot work here; the README shows how to send one by hand.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "list",
  validatorUrl: null,
});
