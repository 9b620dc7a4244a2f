select ORDER_ID_8 "Order Id", IF_9 "Big?" from (select ORDER_ID_8, iff(AMOUNT_7 > 100, 'yes', 'no') IF_9 from (select ORDER_ID ORDER_ID_8, AMOUNT AMOUNT_7 from (select * from SHOP.SALES.ORDERS ORDERS limit 1000) Q1 limit 1000) Q2) Q3 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}