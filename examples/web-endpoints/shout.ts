/** A node endpoint is a function from Request to Response. This one is gated: only a proxy token opens it. */
export async function shout(request: Request): Promise<Response> {
  const text = await request.text();
  return new Response(text.toUpperCase(), { headers: { 'content-type': 'text/plain' } });
}
