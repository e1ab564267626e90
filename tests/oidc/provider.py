"""An OpenID provider on the loopback, made of Authlib's server: the code flow with PKCE, for one registered client."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import flask
import pytest
from authlib.integrations.flask_oauth2 import AuthorizationServer  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749 import grants  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.models import AuthorizationCodeMixin, ClientMixin  # type: ignore[import-untyped]
from authlib.oauth2.rfc7636 import CodeChallenge  # type: ignore[import-untyped]
from authlib.oidc.core import OpenIDCode, UserInfo  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, KeySet, RSAKey
from werkzeug.serving import make_server

CLIENT_ID = "ugs"
CLIENT_SECRET = "c!ient: secret/+"


@dataclass(frozen=True)
class Client(ClientMixin):  # type: ignore[misc]  # Authlib is not typed
    redirect_uri: str
    methods: tuple[str, ...] = ("client_secret_basic",)

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in self.methods

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class Code(AuthorizationCodeMixin):  # type: ignore[misc]
    code: str
    user: str
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str | None
    code_challenge_method: str | None

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None: ...

    def get_amr(self) -> None: ...


@dataclass
class Provider:
    """What a test may change while it runs. `who` signs in next, without being asked."""

    issuer: str
    client: Client
    keys: list[Key] = field(default_factory=lambda: [ECKey.generate_key("P-256", {"kid": "first"})])
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    who: str = "ada"
    thin: bool = False
    """Whether ID tokens hold nothing but `sub`: the rest is at /userinfo."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Of the discovery document: what is otherwise than it should be."""
    token_claims: dict[str, Any] = field(default_factory=dict)
    """Of ID tokens, likewise."""
    asked: list[str] = field(default_factory=list)
    codes: dict[str, Code] = field(default_factory=dict)
    access: dict[str, str] = field(default_factory=dict)
    ended: list[dict[str, str]] = field(default_factory=list)
    """With what those came who signed out."""
    server: Any = None

    def rotate(self, number: str) -> None:
        self.keys.insert(0, ECKey.generate_key("P-256", {"kid": number}))
        del self.keys[2:]

    def token(self, *, key: Key | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token such as a machine gets: right, but for what is given here. A claim that is None is left out."""
        key, now = key or self.keys[0], int(time.time())
        right = {"iss": self.issuer, "aud": CLIENT_ID, "sub": "1", "iat": now, "exp": now + 300}
        said = {name: value for name, value in (right | claims).items() if value is not None}
        head = {"alg": "RS256" if isinstance(key, RSAKey) else "ES256", "kid": key.kid} | (header or {})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            return jwt.encode(head, said, key, [head["alg"]])

    def claims_of(self, user: str) -> dict[str, Any]:
        return {"sub": user} | self.people.get(user, {})


def _server(app: flask.Flask, provider: Provider) -> AuthorizationServer:
    class CodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post", "none")

        def save_authorization_code(self, code: str, request: Any) -> None:
            data = request.payload.data
            asked = [data.get(name) for name in ("nonce", "code_challenge", "code_challenge_method")]
            said = request.payload.redirect_uri, request.payload.scope
            provider.codes[code] = Code(code, request.user, *said, *asked)

        def query_authorization_code(self, code: str, client: Client) -> Code | None:
            return provider.codes.get(code)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            provider.codes.pop(authorization_code.code)

        def authenticate_user(self, authorization_code: Code) -> str:
            return authorization_code.user

    class Tokens(OpenIDCode):  # type: ignore[misc]
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return False

        def resolve_client_private_key(self, client: Client) -> Key:
            return provider.keys[0]

        def get_client_algorithm(self, client: Client) -> str:
            return "ES256"

        def get_encode_header(self, client: Client) -> dict[str, str]:
            return {"alg": "ES256", "kid": str(provider.keys[0].kid)}

        def get_client_claims(self, client: Client) -> dict[str, Any]:
            return {"iss": provider.issuer, "aud": [CLIENT_ID]}

        def get_compatible_claims(self, request: Any) -> dict[str, Any]:
            now = int(time.time())
            return self.get_client_claims(request.client) | {"iat": now, "exp": now + 300}

        def generate_user_info(self, user: str, scope: str) -> UserInfo:
            said = {"sub": user} if provider.thin else provider.claims_of(user)
            return UserInfo(said | provider.token_claims)

    def save_token(token: dict[str, Any], request: Any) -> None:
        provider.access[token["access_token"]] = request.user

    server = AuthorizationServer(app, lambda _client_id: provider.client, save_token)
    server.register_grant(CodeGrant, [Tokens(require_nonce=True), CodeChallenge(required=True)])
    return server


def _application(provider: Provider) -> flask.Flask:
    app = flask.Flask(__name__)
    server = _server(app, provider)

    @app.before_request
    def count() -> None:
        provider.asked.append(flask.request.path)

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Any:
        return {
            "issuer": provider.issuer,
            "authorization_endpoint": f"{provider.issuer}/authorize",
            "token_endpoint": f"{provider.issuer}/token",
            "userinfo_endpoint": f"{provider.issuer}/userinfo",
            "jwks_uri": f"{provider.issuer}/jwks",
            "end_session_endpoint": f"{provider.issuer}/end",
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
            "token_endpoint_auth_methods_supported": list(provider.client.methods),
        } | provider.metadata

    @app.get("/jwks")
    def jwks() -> Any:
        return KeySet(provider.keys).as_dict(private=False)

    @app.get("/authorize")
    def authorize() -> Any:
        grant = server.get_consent_grant(end_user=provider.who)
        return server.create_authorization_response(grant=grant, grant_user=provider.who)

    @app.get("/end")
    def end() -> Any:
        provider.ended.append(dict(flask.request.args))
        return flask.redirect(flask.request.args.get("post_logout_redirect_uri", "/"))

    @app.post("/token")
    def token() -> Any:
        return server.create_token_response()

    @app.get("/userinfo")
    def userinfo() -> Any:
        shown = flask.request.headers.get("Authorization", "").removeprefix("Bearer ")
        return provider.claims_of(provider.access[shown])

    return app


@contextlib.contextmanager
def listening(provider: Provider) -> Iterator[None]:
    """It answers in here, at its own address."""
    port = int(provider.issuer.rpartition(":")[2])
    server = provider.server = make_server("127.0.0.1", port, _application(provider), threaded=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def a_provider(port: int, redirect_uri: str = "http://127.0.0.1:1/login/callback") -> Iterator[Provider]:
    provider = Provider(f"http://127.0.0.1:{port}", Client(redirect_uri))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # the loopback
        with listening(provider):
            yield provider
