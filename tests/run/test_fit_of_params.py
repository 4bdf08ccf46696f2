"""`jaxvae.fit` in its own right: what it is given is left as it was, and it trains what is no VAE."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import fit
from jaxvae.models import linear


@pytest.fixture(autouse=True)
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


XS = jax.random.normal(jax.random.key(0), (40, 3))


def test_the_params_that_it_begins_from_stay_the_callers():
    model = linear.linear_vae(latent=1)
    given = jax.jit(model.init)(jax.random.key(1), XS[0])
    before = jax.tree.map(np.asarray, given)
    params, _ = fit(model, XS, key=jax.random.key(2), epochs=1, batch_size=20, params=given, show=False)
    jax.tree.map(np.testing.assert_array_equal, given, before)  # a buffer that was given away could not be read
    assert not np.array_equal(params["decoder"]["W"], before["decoder"]["W"])


def test_a_loss_with_params_needs_no_model():
    def loss(keys, params, extra, xs, step):
        cost = jnp.mean(jnp.square(xs - params[None, :]))
        return cost, (extra, {"cost": cost})

    params, history = fit(
        None, XS, key=jax.random.key(0), epochs=300, batch_size=40, loss=loss, params=jnp.zeros(3), show=False
    )
    least = np.mean(np.var(np.asarray(XS), axis=0))
    assert -history.train[-1] == pytest.approx(least, abs=0.01)
    assert history.train[-1] > history.train[0]
    np.testing.assert_allclose(params, XS.mean(axis=0), atol=0.1)
    with pytest.raises(ValueError, match="nothing says where to begin: give params="):
        fit(None, XS, key=jax.random.key(0), batch_size=40, loss=loss, show=False)
