"""Errors to plant in the source of ``reference/``: where, what, and which equation must be named.

Adding one is adding an entry. ``named`` are ids or names, one of which must stand in the message
that turns red; ``only_documents`` marks errors that are consistent in themselves (a wrong formula
with the right gradient of that wrong formula), which only the documents' transcriptions can see.
``proofs`` are tried before all others that are about what is named.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Planted:
    """Replace ``old``, which must occur ``times`` times, by ``new`` in one file."""

    id: str
    file: str
    old: str
    new: str
    named: tuple[str, ...]
    times: int = 1
    only_documents: bool = False
    proofs: tuple[str, ...] = ()


PLANTED = (
    Planted(
        "swap_two_gates", "cells/lstm.py",
        "c_new = cell_state(f, c, i, g)", "c_new = cell_state(i, c, f, g)",
        named=("E17", "E13", "E14"),
    ),
    Planted(
        "swap_two_gates_throughout", "cells/lstm.py",
        "return f * c + i * g", "return i * c + f * g",
        named=("E17",),
    ),
    Planted(
        "swap_weights_of_two_gates", "cells/lstm.py",
        "return sigmoid(x @ p.W_i + h @ p.U_i + p.b_i)",
        "return sigmoid(x @ p.W_f + h @ p.U_f + p.b_f)",
        named=("E14",),
    ),
    Planted(
        "drop_tanh_slope_of_hidden_state", "cells/lstm.py",
        "dh_new * o * tanh_slope(tanh_c)", "dh_new * o",
        named=("E18",),
    ),
    Planted(
        "drop_tanh_slope_of_rnn", "functions.py",
        "return 1 - y * y", "return 1 + 0 * y",
        named=("E02", "E04", "E07", "E18"),
    ),
    Planted(
        "drop_dc_path", "cells/lstm.py",
        "cell_state_vjp(f, c, i, g, dc_new + dc_through_h)",
        "cell_state_vjp(f, c, i, g, dc_through_h)",
        named=("E13", "E14", "E17", "E10"),
    ),
    Planted(
        "drop_dc_path_in_bptt", "sequence.py",
        "arriving = (arriving[0] + only(step.active, dy[t]), *arriving[1:])",
        "arriving = (arriving[0] + only(step.active, dy[t]), *(0 * d for d in arriving[1:]))",
        named=("E10",),
    ),
    Planted(
        "new_state_for_old_in_dU", "cells/lstm.py",
        "arrays, dx, dh = affine_vjp(p, x, h, dz)",
        "arrays, dx, dh = affine_vjp(p, x, new[0], dz)",
        named=("E13", "E14", "E15", "E16"),
    ),
    Planted(
        "new_state_for_old_in_dU_of_rnn", "cells/rnn.py",
        "affine_vjp(p, x, a, dz)", "affine_vjp(p, x, a_new, dz)",
        named=("E04",),
    ),
    Planted(
        "transpose_U", "cells/lstm.py",
        "return sigmoid(x @ p.W_f + h @ p.U_f + p.b_f)",
        "return sigmoid(x @ p.W_f + h @ p.U_f.T + p.b_f)",
        named=("E13",),
    ),
    Planted(
        "transpose_U_in_the_vjp", "parameters.py",
        "[gate.T for gate in whole]", "[gate.T if name == \"W\" else gate for gate in gates]",
        named=("E04", "E13", "E10"),
    ),
    Planted(
        "W_a_for_W_aa_in_the_chain", "bptt.py",
        "return tanh_slope(a)[:, None] * p.U_a.T", "return tanh_slope(a)[:, None] * p.W_a.T",
        named=("E07", "E08"),
    ),
    Planted(
        "forget_the_carry_between_segments", "sequence.py",
        "new, gates = cell.step(p, x_t, now)",
        "new, gates = cell.step(p, x_t, now if t % 3 else tuple(0 * s for s in now))",
        named=("E04", "E13", "E20", "E10"),
    ),
    Planted(
        "forget_the_carried_cotangent", "sequence.py",
        "dp_t, dx_t, dstate = cell.vjp(p, step.x, step.state, step.gates, step.new, arriving)",
        "dp_t, dx_t, dstate = cell.vjp(p, step.x, step.state, step.gates, step.new, arriving)\n"
        "        dstate = tuple(0 * d for d in dstate) if t == 1 else dstate",
        named=("E10",),
    ),
    Planted(
        "misorder_the_jacobian_product", "bptt.py",
        "for a in reversed(states):", "for a in states:",
        named=("E08",),
    ),
    Planted(
        "total_for_immediate_derivative", "bptt.py",
        "before = [initial, *states[:-1]]", "before = list(states)",
        named=("E11",),
    ),
    Planted(
        "reset_after_for_before", "cells/gru.py",
        "return tanh(x @ p.W_n + (r * h) @ p.U_n + p.b_n)",
        "return tanh(x @ p.W_n + r * (h @ p.U_n) + p.b_n)",
        named=("E22",),
    ),
    Planted(
        "polarity_of_the_update_gate", "cells/gru.py",
        "return z * h + (1 - z) * n", "return z * n + (1 - z) * h",
        named=("E23b",),
    ),
    Planted(
        "drop_b_hn", "cells/gru_reset_after.py",
        "return tanh(x @ p.W_n + p.b_n + r * (h @ p.U_n + p.b_hn))",
        "return tanh(x @ p.W_n + p.b_n + r * (h @ p.U_n))",
        named=("E24",),
    ),
    Planted(
        "output_peephole_sees_the_old_cell_state", "cells/lstm_peephole.py",
        "        self.name, self.title, self._output_sees_new = name, title, output_sees_new",
        "        self.name, self.title, self._output_sees_new = name, title, False",
        named=("E25",), only_documents=True,
    ),
    Planted(
        "time_gate_closes_at_half", "cells/lstm_phased.py",
        "switch(phi - p.r_on, falling, closed)", "switch(phi - p.r_on / 2, falling, closed)",
        named=("E28",),
    ),
    Planted(
        "no_straight_through", "cells/skip.py",
        "return Parameters(p.shapes, {**dp, **own}), dx, (*d_old, du_tilde + du)",
        "return Parameters(p.shapes, {**dp, **own}), dx, (*d_old, du_tilde)",
        named=("E29",),
    ),
    Planted(
        "read_the_padding", "sequence.py",
        "x_t = only(active, x[t])", "x_t = x[t]",
        named=("E10",), proofs=("sequence.padding[gru]",),
    ),
    Planted(
        "reverse_the_padding_too", "sequence.py",
        "return x[np.where(t < ends, ends - 1 - t, t), np.arange(batch)[None, :]]",
        "return x[::-1]",
        named=("E26",),
    ),
    Planted(
        "sigmoid_candidate_for_tanh", "cells/lstm.py",
        "return tanh(x @ p.W_g + h @ p.U_g + p.b_g)",
        "return sigmoid(x @ p.W_g + h @ p.U_g + p.b_g)",
        named=("E15",),
    ),
    Planted(
        "bias_twice", "cells/gru.py",
        "return sigmoid(x @ p.W_r + h @ p.U_r + p.b_r)",
        "return sigmoid(x @ p.W_r + h @ p.U_r + p.b_r + p.b_r)",
        named=("E21",),
    ),
    Planted(
        "loss_gradient_without_target", "output.py",
        "return dE[..., None] * (softmax(s) - y)", "return dE[..., None] * softmax(s)",
        named=("E06",),
    ),
    Planted(
        "scatter_instead_of_scatter_add", "tokens.py",
        "d_table[index] = d_table[index] + row", "d_table[index] = row",
        named=("E31",),
    ),
    Planted(
        "clip_arrays_one_by_one", "gradient_clipping.py",
        "return {name: g * scale for name, g in gradients.items()}",
        "return {name: g * minimum(threshold / global_norm({name: g}), 0 * norm + 1)"
        " for name, g in gradients.items()}",
        named=("E30",),
    ),
    Planted(
        "decay_by_head_not_exponential", "cells/delta.py",
        "dS = np.exp(g)[..., None, None] * d", "dS = (1 + g)[..., None, None] * d",
        named=("X41",),
    ),
    Planted(
        "decay_by_key_not_exponential", "cells/delta.py",
        "dS = np.exp(g)[..., None] * d", "dS = (1 + g)[..., None] * d",
        named=("delta.decay_by_key",),
    ),
    Planted(
        "read_from_the_memory_before_its_decay", "cells/delta.py",
        "u = correction(given[\"beta\"], u, given[\"k\"], S)",
        "u = correction(given[\"beta\"], u, given[\"k\"], state[0])",
        named=("X42", "X41"),
    ),
    Planted(
        "correction_without_its_key", "cells/delta.py",
        "d[\"k\"], dS = dk + dk_read, dS + dS_read", "d[\"k\"], dS = dk, dS + dS_read",
        named=("X42",),
    ),
    Planted(
        "write_transposed", "cells/delta.py",
        "return matrix_times(d, u), rows_times(k, d), d",
        "return matrix_times(d, u), rows_times(k, 2 * d), d",
        named=("X43",),
    ),
    Planted(
        "scale_once", "cells/delta.py",
        "return scaled(matrix_times(S, do)), outer(scaled(q), do)",
        "return scaled(matrix_times(S, do)), outer(q, do)",
        named=("X44",),
    ),
    Planted(
        "retention_back_without_gamma", "cells/delta.py",
        "return (_by_gamma(d),)", "return (d,)",
        named=("X40",),
    ),
    Planted(
        "readout_without_its_cotangent", "sequence.py",
        "arriving = added(arriving, read[3])", "arriving = added(arriving, arriving)",
        named=("E10",),
    ),
    Planted(
        "step_size_without_its_decay", "cells/ssd.py",
        "{\"dt\": ddt + ddt_decay, \"x\": dx",
        "{\"dt\": ddt, \"x\": dx",
        named=("X45",),
    ),
    Planted(
        "write_of_mamba_2_back", "cells/ssd.py",
        "return (d_scaled * x).sum(axis=-1), d_scaled * dt[..., None], dB, d",
        "return (d_scaled * x).sum(axis=-1), d_scaled, dB, d",
        named=("X46",),
    ),
    Planted(
        "skip_left_out_of_the_way_back", "cells/ssd.py",
        "return dC, D[:, None] * dy, dD",
        "return dC, 0 * dy, dD",
        named=("X47",),
    ),
    Planted(
        "rate_once", "cells/selective.py",
        "return (d_log * A).sum(axis=-1), (d_log",
        "return d_log.sum(axis=-1), (d_log",
        named=("X48",),
    ),
    Planted(
        "write_of_mamba_1_back", "cells/selective.py",
        "return d_scaled * x, d_scaled * dt",
        "return d_scaled * dt, d_scaled * x",
        named=("X49",),
    ),
    Planted(
        "output_of_mamba_1_back", "cells/selective.py",
        "return dC, D * dy",
        "return dC, dy",
        named=("X50",),
    ),
    Planted(
        "stabiliser_has_no_gradient", "cells/mlstm.py",
        "return dm * sigmoid(-f), dm, switch(ahead, d, nothing)",
        "return dm * sigmoid(-f), dm, nothing",
        named=("X51",),
    ),
    Planted(
        "input_gate_without_its_stabiliser", "cells/mlstm.py",
        "return di, -di",
        "return di, 0 * di",
        named=("X52",),
    ),
    Planted(
        "slope_of_the_forget_gate", "cells/mlstm.py",
        "return dm * sigmoid(-f), dm, -dm",
        "return dm * sigmoid(f), dm, -dm",
        named=("X53",),
    ),
    Planted(
        "memory_back_without_the_input_gate", "cells/mlstm.py",
        "di, matrix_times(weighted, v), rows_times(k, weighted)",
        "di, matrix_times(d, v), rows_times(k, weighted)",
        named=("X54",),
    ),
    Planted(
        "normaliser_back", "cells/mlstm.py",
        "return df, f[..., None] * d, di, i[..., None] * d",
        "return df, i[..., None] * d, di, f[..., None] * d",
        named=("X55",),
    ),
    Planted(
        "sign_of_the_normaliser", "cells/mlstm.py",
        "d_inner = switch(read, -d_size, d_size)[..., None]",
        "d_inner = d_size[..., None]",
        named=("X56",),
    ),
    Planted(
        "recurrent_block_transposed", "cells/slstm.py",
        "return d, (R @ d[..., None])[..., 0], dR",
        "return d, (d[..., None, :] @ R)[..., 0, :], dR",
        named=("X57",),
    ),
    Planted(
        "cell_state_of_slstm_back", "cells/slstm.py",
        "return d * c, d * f, d * z, d * i",
        "return d * c, d * i, d * z, d * f",
        named=("X58",),
    ),
    Planted(
        "normaliser_of_slstm_back", "cells/slstm.py",
        "    return d * n, d * f, d\n", "    return d * n, d * f, d * f\n",
        named=("X59",),
    ),
    Planted(
        "quotient_of_slstm_back", "cells/slstm.py",
        "return d * (c / n), dc, -dc * (c / n)",
        "return d * (c / n), dc, dc * (c / n)",
        named=("X60",),
    ),
    Planted(
        "bonus_left_out_of_the_way_back", "cells/rwkv.py",
        "\"k\": d_bonus * u,",
        "\"k\": 0 * d_bonus,",
        named=("X61",),
    ),
    Planted(
        "no_bonus_in_chunks", "linear.py",
        "k = self.k[t] if self.bonus is None else self.bonus * self.k[t]", "k = self.k[t]",
        named=("X61",),
    ),
    Planted(
        "removal_back", "cells/rwkv.py",
        "d_kappa = d_rate * a + matrix_times(S, d_held)",
        "d_kappa = d_rate * a",
        named=("X62",),
    ),
    Planted(
        "output_of_rwkv7_back", "cells/rwkv.py",
        "return matrix_times(S, do), outer(r, do)",
        "return matrix_times(S, do), 2 * outer(r, do)",
        named=("X63",),
    ),
    Planted(
        "polarity_of_mingru", "cells/minimal.py",
        "(state_takes_new(z, n, h),), {\"z\": z", "(state_takes_new(1 - z, n, h),), {\"z\": z",
        named=("X01", "E23a"),
    ),
    Planted(
        "gate_of_the_mgu_without_the_candidates_share", "cells/minimal.py",
        "dz_f = (df + d_seen * h)", "dz_f = df",
        named=("E13",),
    ),
    Planted(
        "shares_of_the_minlstm_exchanged_on_the_way_back", "cells/minimal.py",
        "across = (d_kept - d_written)", "across = (d_written - d_kept)",
        named=("X04", "X05"),
    ),
    Planted(
        "slope_of_g_is_that_of_the_sigmoid_throughout", "cells/minimal.py",
        "switch(s, sigmoid_slope(sigmoid(s)), 1 + 0 * s)", "sigmoid_slope(sigmoid(s))",
        named=("X03",),
    ),
    Planted(
        "indrnn_reads_its_new_state_back", "cells/indrnn.py",
        "(dz * state[0]).sum(axis=0)", "(dz * new[0]).sum(axis=0)",
        named=("X06",),
    ),
    Planted(
        "sru_reset_gate_sends_nothing_to_the_cell_state", "cells/sru.py",
        "dc + dz[\"f\"] * p.v_f + dz[\"r\"] * p.v_r", "dc + dz[\"f\"] * p.v_f",
        named=("X07",),
    ),
    Planted(
        "sru_highway_counted_twice", "cells/sru.py",
        "return dh * (c - passed), dh * r, dh * (1 - r)", "return dh * (c - passed), dh * r, dh",
        named=("X09",),
    ),
    Planted(
        "qrnn_tap_one_step_late_on_the_way_back", "cells/qrnn.py",
        "earlier = [taps[f\"{g}{j - 1 or ''}\"]", "earlier = [taps[f\"{g}{j}\"]",
        named=("X10",),
    ),
    Planted(
        "layer_norm_without_the_mean", "cells/lstm_layer_norm.py",
        "return (dy - mean - y * along)", "return (dy - y * along)",
        named=("X15", "X16", "X17"),
    ),
    Planted(
        "layer_norm_carries_what_it_shows", "cells/lstm_layer_norm.py",
        "d_raw = d_raw if self.carried else d_raw + dc_new", "d_raw = d_raw + dc_new",
        named=("X17", "E17"),
    ),
    Planted(
        "zoneout_keeps_no_cotangent", "cells/zoneout.py",
        "tuple(d + r * d_new for d, r, d_new in kept)", "tuple(d for d, r, d_new in kept)",
        named=("X14",),
    ),
    Planted(
        "rg_lru_root_without_a_slope", "cells/rg_lru.py",
        "dh_new * (h - per_root * (i * u))", "dh_new * h",
        named=("X20",),
    ),
    Planted(
        "lru_turns_the_other_way", "cells/lru.py",
        "turned: Units = np.sin(angle) * re + np.cos(angle) * im",
        "turned: Units = np.cos(angle) * im - np.sin(angle) * re",
        named=("X65",),
    ),
    Planted(
        "lru_modulus_without_its_outer_slope", "cells/lru.py",
        '"nu": -(d_size * size * np.exp(p.nu))', '"nu": -(d_size * np.exp(p.nu))',
        named=("X64",),
    ),
    Planted(
        "lru_phase_without_its_slope", "cells/lru.py",
        '"theta": d_angle * angle', '"theta": d_angle',
        named=("X64",),
    ),
    Planted(
        "lru_conjugate_of_what_is_read", "cells/lru.py",
        "-(new[1].T @ dy)", "new[1].T @ dy",
        named=("X66",),
    ),
    Planted(
        "rg_lru_slope_of_softplus", "cells/rg_lru.py",
        "(d_log * r).sum(axis=0) * sigmoid(p.Lambda)", "(d_log * r).sum(axis=0)",
        named=("X19",),
    ),
)  # fmt: skip
