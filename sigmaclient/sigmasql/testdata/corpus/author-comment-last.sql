select ORDER_ID "Order Id" from SHOP.SALES.ORDERS ORDERS limit 1000 -- mine

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}