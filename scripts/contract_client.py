"""One call with the client that openapi-python-client generated."""

import sys

from client import AuthenticatedClient
from client.api.domains import get_domains

url, token = sys.argv[1:]
page = get_domains.sync(client=AuthenticatedClient(base_url=url, token=token), q="web", limit=2)
assert [machine.name for machine in page.domains] == ["web-01", "web-02"], page
